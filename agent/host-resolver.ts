import { readFile } from 'node:fs/promises';
import type { Clock } from '../shared/clock.ts';
import { parseResolvConf, type ResolverSettings } from '../shared/resolv-conf.ts';

export interface HostResolverOptions {
  readonly clock: Clock;
  /** `/etc/resolv.conf` by default. */
  readonly path?: string;
  /** Where systemd-resolved says whom it asks itself; by default `/run/systemd/resolve/resolv.conf`. */
  readonly upstreamPath?: string;
}

export interface HostResolverSettings { readonly own: ResolverSettings; readonly forPods: ResolverSettings }

/** A host that moves to another network has another file soon. */
const keepMs = 5_000;
const none: ResolverSettings = { servers: [], searches: [], options: [] };

/**
 * How this host resolves names, as its files say. A resolver on the host's loopback (as systemd-resolved's 127.0.0.53)
 * is the host's alone: pods with a network of their own get those that it asks itself, where that is known.
 */
export class HostResolverFiles {
  readonly #options: HostResolverOptions;
  #read: { readonly atMs: number; readonly settings: Promise<HostResolverSettings> } | undefined;

  constructor(options: HostResolverOptions) {
    this.#options = options;
  }

  /** Never rejects: without a file there is nobody to ask. */
  settings(): Promise<HostResolverSettings> {
    const nowMs = this.#options.clock.monotonic();
    if (!this.#read || nowMs - this.#read.atMs > keepMs) this.#read = { atMs: nowMs, settings: this.#load() };
    return this.#read.settings;
  }

  async #load(): Promise<HostResolverSettings> {
    const { path = '/etc/resolv.conf', upstreamPath = '/run/systemd/resolve/resolv.conf' } = this.#options;
    const own = await readSettings(path);
    if (!own.servers.some(isLoopback)) return { own, forPods: own };
    const upstream = (await readSettings(upstreamPath)).servers.filter((server) => !isLoopback(server));
    const reachable = own.servers.filter((server) => !isLoopback(server));
    return { own, forPods: { ...own, servers: upstream.length > 0 ? upstream : reachable } };
  }
}

const readSettings = async (path: string): Promise<ResolverSettings> => readFile(path, 'utf8').then(parseResolvConf, () => none);

const isLoopback = (server: string): boolean => /^127\.|^::1$|^::ffff:127\./.test(server);
