import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP, type LookupFunction } from 'node:net';

export interface AddressesOptions {
  /** The address at which a name was last reached, if any. */
  readonly last: (name: string) => string | undefined;
  /** Name servers, `address:port`; the machine's own by default. For tests. */
  readonly servers?: readonly string[];
  /** `/etc/hosts` by default. For tests. */
  readonly hostsFile?: string;
}

/** How long a name server may take, and how often it is asked. */
const patience = { timeout: 2000, tries: 2 } as const;

/**
 * Finds the master by name, also where DNS has gone: then it is tried where it was reached last, which is safe, as its
 * certificate has to be the master's anyway. Asks name servers itself: the system's resolver would block a thread that
 * the agent's files need, for as long as a dead server takes.
 */
export function masterLookup(options: AddressesOptions): LookupFunction {
  return (name, { all }, callback) => {
    addressesOf(name, options).then(
      (found) => (all ? callback(null, found) : callback(null, found[0]!.address, found[0]!.family)),
      (error: NodeJS.ErrnoException) => callback(error, []),
    );
  };
}

async function addressesOf(name: string, { last, servers, hostsFile = '/etc/hosts' }: AddressesOptions): Promise<LookupAddress[]> {
  const listed = await inHosts(name, hostsFile);
  if (listed.length > 0) return listed;
  const resolver = new Resolver(patience);
  if (servers) resolver.setServers(servers);
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  const found = [...(v4.status === 'fulfilled' ? v4.value : []), ...(v6.status === 'fulfilled' ? v6.value : [])];
  if (found.length > 0) return found.map(toAddress);
  const denied = [v4, v6].every((one) => one.status === 'rejected' && ['ENOTFOUND', 'ENODATA'].includes((one.reason as NodeJS.ErrnoException).code ?? ''));
  const known = last(name);
  if (known !== undefined && !denied) return [toAddress(known)];
  // Names that only this machine knows, and search domains: the system's own way of finding them.
  return fromSystem(name).catch((error: unknown) => {
    if (known !== undefined) return [toAddress(known)];
    throw error;
  });
}

const toAddress = (address: string): LookupAddress => ({ address, family: isIP(address) });

async function inHosts(name: string, file: string): Promise<LookupAddress[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const lines = text.split('\n').map((line) => line.replace(/#.*/, '').trim().split(/\s+/));
  return lines.filter(([address = '', ...names]) => isIP(address) && names.some((listed) => listed.toLowerCase() === name.toLowerCase())).map(([address]) => toAddress(address!));
}

function fromSystem(name: string): Promise<LookupAddress[]> {
  return new Promise((resolve, reject) => { systemLookup(name, { all: true }, (error, found) => (error ? reject(error) : resolve(found))); });
}
