import { createHash, X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { CertificateRequest, KeyPair } from './certificates.ts';

/** Everything that the master proves itself and others with. Private keys stay in the data directory. */
export interface Pki {
  readonly authority: KeyPair;
  readonly server: KeyPair;
  /** Client of group `system:masters`, for the kubeconfig. */
  readonly admin: KeyPair;
  /** What a join token carries: SHA-256 over the authority's SPKI, base64url. */
  readonly authorityHash: string;
  /** A client certificate for a key that stays elsewhere. `publicKey` is SPKI PEM. */
  certify(request: CertificateRequest, publicKey: string): Promise<string>;
}

const authorityDays = 3650;
const leafDays = 365;
/** A leaf certificate is renewed at start when less than this share of its life is left. */
const renewBelow = 1 / 3;

// The certificate library costs memory, and most starts need none of it.
const library = () => import('./certificates.ts');

/**
 * Reads the key material under `directory`, and makes what is missing, about to expire, or for other hosts than `hosts`.
 * @throws when a file is unreadable or is no PEM; the message names the file
 */
export async function openPki(directory: string, hosts: readonly string[]): Promise<Pki> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const authority = await readPair(directory, 'ca') ?? await makePair(directory, 'ca', async () => (await library()).createAuthority('wherry-ca', authorityDays));
  const leaf = async (name: string, request: CertificateRequest): Promise<KeyPair> => {
    const found = await readPair(directory, name);
    if (found && usable(found, authority, request.hosts)) return found;
    return makePair(directory, name, async () => (await library()).issue(authority, request));
  };
  return {
    authority,
    server: await leaf('server', { subject: { name: 'wherry-master' }, use: 'server', hosts, days: leafDays }),
    admin: await leaf('admin', { subject: { name: 'kubernetes-admin', groups: ['system:masters'] }, use: 'client', days: leafDays }),
    authorityHash: spkiHash(authority.certificate),
    certify: async (request, publicKey) => (await library()).certify(authority, request, publicKey),
  };
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
    throw new Error(`${join(directory, `${name}.crt`)} is no PEM certificate; restore it from a backup, or remove it and its .key to make new ones`);
  }
  return { certificate, key };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new Error(`cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

async function makePair(directory: string, name: string, make: () => Promise<KeyPair>): Promise<KeyPair> {
  const pair = await make();
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

function usable(pair: KeyPair, authority: KeyPair, hosts: readonly string[] | undefined): boolean {
  const certificate = new X509Certificate(pair.certificate);
  if (!certificate.verify(new X509Certificate(authority.certificate).publicKey)) return false;
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  if (to - Date.now() < (to - from) * renewBelow) return false;
  const names = (certificate.subjectAltName ?? '').split(', ').map((name) => name.replace(/^(DNS|IP Address):/, ''));
  return (hosts ?? []).every((host) => names.includes(host));
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
