import { execFile } from 'node:child_process';
import { BlockList } from 'node:net';
import { networkInterfaces } from 'node:os';
import { sleep } from '../../shared/clock.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';

export interface ServiceRangeOptions {
  /** The cluster's service range, `10.96.0.0/16`. IPv4 only. */
  readonly range: string;
  /** The node's own IPv4 address: what backends see of this host's own clients. */
  readonly nodeAddress: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The route has come (true), or is missing and cannot be made (false, with the reason). Called on changes only. */
  readonly onChange?: (holds: boolean, error?: Error) => void;
  /** Take the route away at the end of `run`; it stays by default, so that a restart changes nothing. */
  readonly removeAtStop?: boolean;
  /** Between two checks; 30 s by default. */
  readonly checkMs?: number;
  /** Runs `ip` with arguments and gives its output; for tests. */
  readonly ip?: (args: readonly string[]) => Promise<string>;
}

export interface ServiceRange {
  /** Whether the route was there at the last check. */
  readonly holds: boolean;
  /** Makes the route unless it is there. @throws with a text for the user when it cannot be made */
  ensure(): Promise<void>;
  remove(): Promise<void>;
  /** Keeps the route there until the abort. Never throws: without it, only NodePorts are served. */
  run(signal: AbortSignal): Promise<void>;
}

/**
 * Makes a whole range local to this host with one route (`ip route replace local RANGE dev lo src NODE`), so that
 * sockets can be bound to any address in it: no address per service, no packet filter.
 */
export function createServiceRange(options: ServiceRangeOptions): ServiceRange {
  return new LocalRoute(options);
}

class LocalRoute implements ServiceRange {
  readonly #options: ServiceRangeOptions;
  readonly #log: Log;
  readonly #ip: (args: readonly string[]) => Promise<string>;
  #known: boolean | undefined;

  constructor(options: ServiceRangeOptions) {
    this.#options = options;
    this.#log = options.log.named('service-range');
    this.#ip = options.ip ?? runIp;
  }

  get holds(): boolean {
    return this.#known === true;
  }

  async ensure(): Promise<void> {
    const { range, nodeAddress } = this.#options;
    checkRange(range, nodeAddress);
    if (await this.#present()) return;
    try {
      await this.#ip(['-4', 'route', 'replace', 'local', range, 'dev', 'lo', 'src', nodeAddress]);
    } catch (error) {
      throw new Error(explain(range, nodeAddress, error as Error), { cause: error });
    }
  }

  async remove(): Promise<void> {
    await this.#ip(['-4', 'route', 'del', 'local', this.#options.range, 'dev', 'lo']);
    this.#known = undefined;
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.ensure().then(() => this.#note(true), (error: Error) => this.#note(false, error));
      await sleep(this.#options.clock, this.#options.checkMs ?? 30_000, signal);
    }
    if (!this.#options.removeAtStop || !this.holds) return;
    await this.remove().catch((error: unknown) => this.#log.warn('the route for the service range stays behind', { range: this.#options.range, error }));
  }

  async #present(): Promise<boolean> {
    const { range, nodeAddress } = this.#options;
    const routes = await this.#ip(['-4', 'route', 'show', 'table', 'local', 'exact', range]).catch(() => '');
    const wanted = [`local ${range}`, 'dev lo', `src ${nodeAddress}`];
    return routes.split('\n').some((line) => wanted.every((part) => ` ${line} `.includes(` ${part} `)));
  }

  #note(holds: boolean, error?: Error): void {
    if (this.#known === holds) return;
    this.#known = holds;
    if (error) this.#log.error('services have no addresses on this node, only node ports: ' + error.message);
    else this.#log.info('service range is local', { range: this.#options.range, src: this.#options.nodeAddress });
    this.#options.onChange?.(holds, error);
  }
}

/** @throws when the range is none, or holds an address that this host already has: making it local would cut the host off */
function checkRange(range: string, nodeAddress: string): void {
  const [network, prefix] = range.split('/');
  const block = new BlockList();
  try {
    block.addSubnet(network ?? '', Number(prefix ?? NaN), 'ipv4');
  } catch (error) {
    throw new Error(`service range ${JSON.stringify(range)} is no IPv4 network`, { cause: error });
  }
  const own = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).filter((one) => one.family === 'IPv4').map((one) => one.address));
  const taken = [nodeAddress, ...own].find((address) => block.check(address, 'ipv4'));
  if (taken) throw new Error(`service range ${range} holds ${taken}, an address of this node: choose another service range`);
}

function explain(range: string, nodeAddress: string, error: Error): string {
  const what = `cannot make the service range ${range} local with src ${nodeAddress}`;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return `${what}: the command ip is missing (package iproute2)`;
  if (/Operation not permitted/.test(error.message)) return `${what}: not permitted; run the agent as root or with CAP_NET_ADMIN`;
  return `${what}: ${error.message.trim()}`;
}

function runIp(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('ip', [...args], { timeout: 10_000 }, (error, out, err) => {
      if (!error) return resolve(out);
      reject(error.code === 'ENOENT' ? error : new Error(err.trim() || error.message, { cause: error }));
    });
  });
}
