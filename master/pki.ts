import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep, systemClock, type Clock } from '../shared/clock.ts';
import type { Log } from '../shared/log.ts';
import { plainReason } from '../shared/plain-reason.ts';
import type { CertificateRequest, KeyPair } from './certificates.ts';

/** Everything that the master proves itself and others with. Private keys stay in the data directory. */
export interface Pki {
  readonly authority: KeyPair;
  /** Another object once it is renewed. */
  readonly server: KeyPair;
  /** Client of group `system:masters`, for the kubeconfig. Another object once it is renewed. */
  readonly admin: KeyPair;
  /** What a join token carries: SHA-256 over the authority's SPKI, base64url. */
  readonly authorityHash: string;
  /** A client certificate for a key that stays elsewhere. `publicKey` is SPKI PEM. */
  certify(request: CertificateRequest, publicKey: string): Promise<string>;
  /** Renews whichever of server and admin is in the last third of its life; resolves with their names. */
  renew(): Promise<readonly ('server' | 'admin')[]>;
}

/** Key material cannot be used; the message is one line for the user. */
export class PkiError extends Error {
  readonly code = 'EPKI';
}

const dayMs = 86_400_000;
const authorityDays = 3650;
const leafDays = 365;
/** A leaf certificate is renewed when less than this share of its life is left, the authority's (with the same key) at start below the other. */
const renewBelow = 1 / 3;
const extendBelow = 1 / 10;

// The certificate library costs memory, and most starts need none of it.
const library = () => import('./certificates.ts');

/**
 * Reads the key material under `directory`, and makes what is missing, about to expire, or for other hosts than `hosts`.
 * @throws when a file is unreadable or is no PEM; the message names the file
 */
export async function openPki(directory: string, hosts: readonly string[], clock: Pick<Clock, 'now'> = systemClock): Promise<Pki> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const authority = await openAuthority(directory, clock.now());
  const requests = {
    server: { subject: { name: 'wherry-master' }, use: 'server', hosts, days: leafDays },
    admin: { subject: { name: 'kubernetes-admin', groups: ['system:masters'] }, use: 'client', days: leafDays },
  } as const satisfies Record<string, CertificateRequest>;
  const leaf = async (name: keyof typeof requests): Promise<KeyPair> => {
    const [found, request] = [await readPair(directory, name), { ...requests[name], nowMs: clock.now() }];
    if (found && usable(found, authority, request)) return found;
    return makePair(directory, name, async () => (await library()).issue(authority, request));
  };
  let [server, admin] = [await leaf('server'), await leaf('admin')];
  return {
    authority,
    get server() { return server; },
    get admin() { return admin; },
    authorityHash: spkiHash(authority.certificate),
    certify: async (request, publicKey) => (await library()).certify(authority, request, publicKey),
    async renew() {
      const before = { server, admin };
      [server, admin] = [await leaf('server'), await leaf('admin')];
      return (['server', 'admin'] as const).filter((name) => ({ server, admin })[name].certificate !== before[name].certificate);
    },
  };
}

async function openAuthority(directory: string, nowMs: number): Promise<KeyPair> {
  const found = await readPair(directory, 'ca');
  if (!found) return makePair(directory, 'ca', async () => (await library()).createAuthority('wherry-ca', authorityDays, nowMs));
  if (!belongs(found)) throw new PkiError(`${join(directory, 'ca.key')} is not the key of ca.crt; restore it from a backup`);
  const { share } = lifeLeft(found.certificate, nowMs);
  return share < extendBelow ? makePair(directory, 'ca', async () => (await library()).extendAuthority(found, authorityDays, nowMs)) : found;
}

/** What is left of a certificate's life: in ms, and as a share of the whole. */
function lifeLeft(certificate: string, nowMs: number): { readonly ms: number; readonly share: number } {
  const { validFrom, validTo } = new X509Certificate(certificate);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  return { ms: to - nowMs, share: (to - nowMs) / (to - from) };
}

export interface PkiRenewalOptions {
  readonly pki: Pki;
  readonly clock: Clock;
  readonly log: Log;
  /** Server or admin is a new pair from now on; also called for both when one is. */
  readonly onRenewed: () => Promise<void> | void;
  /** Default: a day. */
  readonly everyMs?: number;
}

/** Keeps server and admin certificates fresh until `signal` aborts, and warns of an authority that nears its end. Never rejects. */
export async function renewPki({ pki, clock, log, onRenewed, everyMs = dayMs }: PkiRenewalOptions, signal: AbortSignal): Promise<void> {
  for (await sleep(clock, everyMs, signal); !signal.aborted; await sleep(clock, everyMs, signal)) {
    try {
      const renewed = await pki.renew();
      if (renewed.length > 0) {
        await onRenewed();
        log.info('certificates renewed', { names: renewed.join(', ') });
      }
    } catch (error) {
      log.error('certificates could not be renewed; trying again', { error, againInMs: everyMs });
    }
    const { ms, share } = lifeLeft(pki.authority.certificate, clock.now());
    if (share < extendBelow) log.warn('the authority\'s certificate nears its end; restart the master to extend it with the same key', { days: Math.floor(ms / dayMs) });
  }
}

/** SHA-256 over a certificate's SubjectPublicKeyInfo, base64url. */
export function spkiHash(certificate: string): string {
  const spki = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('base64url');
}

async function readPair(directory: string, name: string): Promise<KeyPair | undefined> {
  const [certificate, key] = await Promise.all([readIfThere(join(directory, `${name}.crt`)), readIfThere(join(directory, `${name}.key`))]);
  if (certificate === undefined || key === undefined) return undefined;
  try {
    new X509Certificate(certificate);
  } catch {
    throw new PkiError(`${join(directory, `${name}.crt`)} is no PEM certificate; restore it from a backup, or remove it and its .key to make new ones`);
  }
  return { certificate: certificate.trim(), key: key.trim() };
}

/** Of the authority: a key that is damaged would show at the first agent that joins. Other pairs are made anew. */
function belongs({ certificate, key }: KeyPair): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new PkiError(`cannot read ${path}: ${plainReason(error)}`, { cause: error });
  }
}

async function makePair(directory: string, name: string, make: () => Promise<KeyPair>): Promise<KeyPair> {
  const { certificate, key } = await make();
  const pair = { certificate: certificate.trim(), key: key.trim() };
  await writeDurably(join(directory, `${name}.key`), `${pair.key}\n`, 0o600);
  await writeDurably(join(directory, `${name}.crt`), `${pair.certificate}\n`, 0o644);
  return pair;
}

/** Replaces a file as a whole: a reader, or a restart after power loss, sees the old content or the new. */
export async function writeDurably(path: string, content: string, mode: number): Promise<void> {
  const temporary = `${path}.tmp`;
  const file = await open(temporary, 'w', mode);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

function usable(pair: KeyPair, authority: KeyPair, { hosts = [], nowMs = 0 }: CertificateRequest): boolean {
  const certificate = new X509Certificate(pair.certificate);
  if (!certificate.verify(new X509Certificate(authority.certificate).publicKey)) return false;
  // A kill between the two files' renewals leaves a key of another certificate.
  if (!certificate.checkPrivateKey(createPrivateKey(pair.key))) return false;
  // One of the future was issued while the clock was wrong.
  if (Date.parse(certificate.validFrom) > nowMs || lifeLeft(pair.certificate, nowMs).share < renewBelow) return false;
  const names = (certificate.subjectAltName ?? '').split(', ').map((name) => name.replace(/^(DNS|IP Address):/, ''));
  return hosts.every((host) => names.includes(host));
}

/** A kubeconfig with everything embedded. `server` is an https URL. */
export function kubeconfig(pki: Pki, server: string): string {
  const base64 = (pem: string): string => Buffer.from(pem).toString('base64');
  return `apiVersion: v1
kind: Config
clusters:
- name: wherry
  cluster:
    server: ${server}
    certificate-authority-data: ${base64(pki.authority.certificate)}
users:
- name: admin
  user:
    client-certificate-data: ${base64(pki.admin.certificate)}
    client-key-data: ${base64(pki.admin.key)}
contexts:
- name: wherry
  context:
    cluster: wherry
    user: admin
current-context: wherry
`;
}
