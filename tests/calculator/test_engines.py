"""Other programs that drive the calculator: i-PI through its socket protocol, and OpenMM."""

import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.socketio import SocketClient, SocketIOCalculator

from simkit.calculator import Calculator
from simkit.potentials.stillinger_weber import StillingerWeber


@pytest.fixture
def silicon() -> Atoms:
    atoms = bulk("Si", a=5.5, cubic=True)
    atoms.rattle(0.05, seed=0)
    atoms.calc = Calculator(StillingerWeber.silicon())
    return atoms


def test_socket_protocol_of_i_pi(silicon: Atoms) -> None:
    """ASE plays the server, so that the protocol is tested where i-PI is not installed."""
    address = f"simkit_{uuid.uuid4().hex[:12]}"
    remote, driven = silicon.copy(), silicon.copy()
    driven.calc = Calculator(StillingerWeber.silicon())
    client = threading.Thread(target=lambda: SocketClient(unixsocket=address).run(driven, use_stress=True))
    with SocketIOCalculator(unixsocket=address, timeout=30) as server:
        client.start()
        remote.calc = server
        for step in range(2):
            remote.rattle(0.01, seed=step)
            silicon.positions = remote.positions
            assert remote.get_potential_energy() == pytest.approx(silicon.get_potential_energy(), abs=1e-9)
            np.testing.assert_allclose(remote.get_forces(), silicon.get_forces(), rtol=0, atol=1e-9)
            np.testing.assert_allclose(remote.get_stress(), silicon.get_stress(), rtol=0, atol=1e-9)
    client.join(timeout=30)
    assert not client.is_alive()


IPI_INPUT = """
<simulation verbosity='quiet'>
  <output prefix='sim'>
    <properties stride='1' filename='out'> [ step, conserved{{electronvolt}}, potential{{electronvolt}} ] </properties>
  </output>
  <total_steps>10</total_steps>
  <prng><seed>3</seed></prng>
  <ffsocket name='driver' mode='unix' pbc='false'><address>{address}</address><latency>1e-3</latency></ffsocket>
  <system>
    <initialize nbeads='4'>
      <file mode='ase'>start.extxyz</file><velocities mode='thermal' units='kelvin'>300</velocities>
    </initialize>
    <forces><force forcefield='driver'/></forces>
    <motion mode='dynamics'>
      <dynamics mode='nve'><timestep units='femtosecond'>0.5</timestep></dynamics>
    </motion>
    <ensemble><temperature units='kelvin'>300</temperature></ensemble>
  </system>
</simulation>
"""


def test_path_integrals_in_i_pi(silicon: Atoms, tmp_path: Path) -> None:
    """Four beads conserve energy."""
    pytest.importorskip("ipi")
    address = f"simkit_{uuid.uuid4().hex[:12]}"
    (tmp_path / "input.xml").write_text(IPI_INPUT.format(address=address))
    silicon.copy().write(tmp_path / "start.extxyz")
    program = Path(sys.executable).with_name("i-pi")
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen([program, "input.xml"], cwd=tmp_path, stdout=log, stderr=log)
        _connect(address, silicon, server)
        assert server.wait(timeout=60) == 0, (tmp_path / "log").read_text()
    _, conserved, potential = np.loadtxt(tmp_path / "sim.out").T
    assert potential[0] == pytest.approx(silicon.get_potential_energy(), abs=1e-5)
    assert np.ptp(conserved) < 1e-3 < np.ptp(potential)


def _connect(address: str, atoms: Atoms, server: subprocess.Popen) -> None:
    """The client, once the server has opened its socket."""
    driven = atoms.copy()
    driven.calc = Calculator(StillingerWeber.silicon())
    for _ in range(300):
        if Path(f"/tmp/ipi_{address}").exists() or server.poll() is not None:
            break
        threading.Event().wait(0.1)
    SocketClient(unixsocket=address).run(driven)


def test_openmm(silicon: Atoms) -> None:
    openmm = pytest.importorskip("openmm")
    openmmml = pytest.importorskip("openmmml")
    from openmm import app, unit

    silicon = silicon.repeat(2)
    silicon.calc = Calculator(StillingerWeber.silicon())
    topology = app.Topology()
    chain = topology.addChain()
    for _ in silicon:
        topology.addAtom("Si", app.Element.getBySymbol("Si"), topology.addResidue("SI", chain))
    topology.setPeriodicBoxVectors(silicon.cell.array * unit.angstrom)
    system = openmmml.MLPotential("ase").createSystem(topology, calculator=Calculator(StillingerWeber.silicon()))
    integrator = openmm.VerletIntegrator(0.5 * unit.femtosecond)
    simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
    simulation.context.setPositions(silicon.positions * unit.angstrom)
    state = simulation.context.getState(getEnergy=True, getForces=True)
    kilojoule = unit.kilojoule_per_mole
    assert state.getPotentialEnergy() / kilojoule / 96.4853321 == pytest.approx(
        silicon.get_potential_energy(), rel=1e-7
    )
    forces = state.getForces(asNumpy=True).value_in_unit(kilojoule / unit.angstrom) / 96.4853321
    np.testing.assert_allclose(forces, silicon.get_forces(), rtol=0, atol=1e-6)
