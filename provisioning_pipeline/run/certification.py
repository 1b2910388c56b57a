"""What each server's last certificate says about the server as it is now."""

from collections.abc import Iterable

from provisioning_pipeline.clients.postgres import Database
from provisioning_pipeline.decide.certificate import Certified, certified
from provisioning_pipeline.ledger.certificates import Certificates
from provisioning_pipeline.ledger.contracts import Contracts
from provisioning_pipeline.run.connections import Connections
from provisioning_pipeline.run.contracts import look


async def certificate_of(connections: Connections, name: str) -> Certified:
    """A server's last certificate, compared with the contract that the server has now.

    Raises:
        Fault: when the ledger, or the server of a certificate that is to be compared, cannot be read.
    """
    last = await Certificates(connections.ledger.database).last_of(name)
    now = (await look(connections, name)).contract if last and last.holds else None
    return certified(name, last, now)


async def certificates(ledger: Database, servers: Iterable[str]) -> dict[str, Certified]:
    """Server → its last certificate, compared with the contract that a run saw there last; no server is asked."""
    found = {}
    for name in servers:
        seen = await Contracts(ledger).of(name)
        last = await Certificates(ledger).last_of(name)
        found[name] = certified(name, last, seen[0].contract if seen else None)
    return found
