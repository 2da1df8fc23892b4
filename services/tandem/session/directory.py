"""What media nodes must know of a shard's tenants: numbers, and devices with their digests."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.core.ports.media import Directory, DirectoryDevice, DirectoryNumber
from tandem.core.seal import Private
from tandem.runtime.driver import ShardDriver
from tandem.runtime.host import Host
from tandem.runtime.ledger import Ledger
from tandem.runtime.opening import open_all, text_of
from tandem.session.domain.reception import RECEPTION


@dataclass(frozen=True, slots=True)
class _Device:
    tenant: str
    device: str
    realm: str
    ha1_md5: Private
    ha1_sha256: Private


async def make_directory(host: Host, driver: ShardDriver) -> Directory:
    """The shard's directory, out of its durable state. Devices whose digests cannot be opened
    (the tenant's key was destroyed) are left out. Raises errors.Rejected while the shard is
    not live."""
    shard = driver.partition.shard
    (numbers, devices), version = await driver.query(_found)
    secrets = await open_all(host, [value for device in devices for value in (device.ha1_md5, device.ha1_sha256)])
    rows = []
    for index, device in enumerate(devices):
        md5, sha256 = text_of(secrets[2 * index]), text_of(secrets[2 * index + 1])
        if md5 and sha256:
            rows.append(DirectoryDevice(device.device, device.tenant, shard, device.realm, md5, sha256))
    listed = tuple(DirectoryNumber(number, tenant, shard) for tenant, number in numbers)
    return Directory(version, listed, tuple(rows))


def _found(ledger: Ledger) -> tuple[list[tuple[str, str]], list[_Device]]:
    numbers: list[tuple[str, str]] = []
    devices: list[_Device] = []
    for tenant in sorted(tenant for tenant, stream in ledger.aggregates if stream == RECEPTION):
        state = ledger.aggregates[tenant, RECEPTION].state
        numbers += ((tenant, number) for number in state.numbers)
        devices += (
            _Device(tenant, row.device, row.realm, row.ha1_md5, row.ha1_sha256) for row in state.devices.values()
        )
    return numbers, devices
