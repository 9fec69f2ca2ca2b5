import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Credentials } from '../../agent/credentials.ts';
import { enrol } from '../../agent/enrol.ts';
import { readIdentity, type Identity } from '../../agent/identity.ts';
import { connector } from '../../agent/session/connect.ts';
import { Session } from '../../agent/session.ts';
import { systemClock } from '../../shared/clock.ts';
import { silentLog, type Log } from '../../shared/log.ts';
import { MemoryState } from './memory-state.ts';
import { skewed, type TlsMaster } from './tls-master.ts';

const never = new AbortController().signal;

/** Directories for one test file, and their end. */
export function temporaryDirectories(prefix: string): { readonly directory: () => Promise<string>; readonly cleanUp: () => Promise<void> } {
  const made: string[] = [];
  return {
    async directory() {
      const path = await mkdtemp(join(tmpdir(), prefix));
      made.push(path);
      return path;
    },
    async cleanUp() {
      for (const path of made) await rm(path, { recursive: true, force: true });
    },
  };
}

export interface Line { readonly level: string; readonly message: string; readonly why: string }

/** Keeps what is logged. */
function listening(): { readonly log: Log; readonly lines: Line[] } {
  const lines: Line[] = [];
  const at = (level: string) => (message: string, fields?: Record<string, unknown>): void => { lines.push({ level, message, why: String(fields?.['why'] ?? '') }); };
  const log = { ...silentLog, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } as Log;
  return { log: Object.assign(log, { named: () => log }), lines };
}

export interface Agent { readonly credentials: Credentials; readonly state: MemoryState; readonly lines: Line[]; stop(): Promise<void> }

export interface AgentOptions { readonly token?: string; readonly servers?: readonly string[]; readonly skewMs?: number; readonly state?: MemoryState; readonly random?: () => number }

/** An agent's session with its real credentials. */
export async function startAgent(path: string, url: string, options: AgentOptions = {}): Promise<Agent> {
  const { log, lines } = listening();
  const identity = (await readIdentity(path))!;
  const clock = skewed(options.skewMs ?? 0);
  const credentials = new Credentials({ identity, directory: path, servers: options.servers ?? [url], token: options.token, clock, random: options.random ?? Math.random, log });
  const state = options.state ?? new MemoryState();
  const abort = new AbortController();
  const session = new Session({
    node: identity.nodeName, agentVersion: 't', bootId: 'b', state, clock, random: Math.random, log, onWelcome: () => {}, openStream: () => { throw new Error('none here'); },
    connect: (signal) => credentials.connect(signal), renewal: credentials, backoff: { baseMs: 20, maxMs: 100, healthyMs: 10_000, refusedMs: 200 },
  });
  const running = session.run(abort.signal);
  return { credentials, state, lines, stop: async () => { abort.abort(); await running; await credentials.idle(); } };
}

/** A new node's identity, and where it is kept. */
export async function enrolled(directory: () => Promise<string>, master: TlsMaster, nodeName = 'n1'): Promise<{ readonly path: string; readonly identity: Identity }> {
  const path = await directory();
  const identity = (await enrol({ directory: path, server: master.url, token: await master.joinToken(), nodeName, clock: systemClock, random: Math.random, log: silentLog }, never))!;
  return { path, identity };
}

/** What becomes of a pair at the master: `ok`, or its words. */
export async function tryOut(master: TlsMaster, pair: { key: string; certificate: string }): Promise<string> {
  try {
    (await connector({ server: master.url, ca: master.pki.authority.certificate, key: pair.key, certificate: pair.certificate })(never)).destroy();
    return 'ok';
  } catch (error) {
    return (error as Error).message;
  }
}
