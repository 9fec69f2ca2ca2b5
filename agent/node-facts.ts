import { readFile } from 'node:fs/promises';
import { arch, availableParallelism, networkInterfaces, release, totalmem } from 'node:os';

/** What of a machine does not change while it is up. */
export interface MachineFacts {
  readonly cpus: number;
  readonly memoryBytes: number;
  /** As Go names it. */
  readonly architecture: string;
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly machineId: string;
  readonly systemUuid: string;
  readonly bootId: string;
  readonly ips: readonly string[];
}

const text = async (path: string): Promise<string> => (await readFile(path, 'utf8').catch(() => '')).trim();

export async function machineFacts(): Promise<MachineFacts> {
  const [machineId, dbusId, uuid, bootId, osRelease] = await Promise.all([
    text('/etc/machine-id'), text('/var/lib/dbus/machine-id'), text('/sys/class/dmi/id/product_uuid'), text('/proc/sys/kernel/random/boot_id'), text('/etc/os-release'),
  ]);
  const id = machineId || dbusId;
  return {
    cpus: availableParallelism(), memoryBytes: totalmem(), kernelVersion: release(), machineId: id, systemUuid: uuid || id, bootId, ips: hostAddresses(),
    architecture: { x64: 'amd64', ia32: '386' }[arch() as string] ?? arch(),
    osImage: /^PRETTY_NAME="?([^"\n]*)"?/m.exec(osRelease)?.[1] ?? 'Linux',
  };
}

/** Addresses of the host's own interfaces: no loopback, and none that an engine made for its containers. */
function hostAddresses(): string[] {
  const found: string[] = [];
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    if (/^(docker|br-|veth|cni|virbr)/.test(name)) continue;
    for (const address of addresses ?? []) if (!address.internal && address.family === 'IPv4') found.push(address.address);
  }
  return found.slice(0, 1);
}
