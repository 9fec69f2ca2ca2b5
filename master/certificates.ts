import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';

/** A certificate and its private key, both PEM; the key is PKCS#8. */
export interface KeyPair { readonly certificate: string; readonly key: string }

export interface Subject {
  /** Common name: the user. */
  readonly name: string;
  /** Organization: the groups. */
  readonly groups?: readonly string[];
}

export interface CertificateRequest {
  readonly subject: Subject;
  readonly use: 'client' | 'server';
  /** DNS names and IP addresses of a server. */
  readonly hosts?: readonly string[];
  /** Life from now on; fractions are fine. */
  readonly days: number;
  /** When it is issued, in ms since 1970; by default the system's time. */
  readonly nowMs?: number;
  /** Serial number, hex, at most 16 bytes and positive; random by default. */
  readonly serial?: string;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const dayMs = 24 * 3600 * 1000;
/** Certificates start in the past, for hosts whose clock is behind: so much, or a tenth of a short life. */
const backdateMs = 3600 * 1000;

const provider = webcrypto;

/** A new self-signed P-256 authority. */
export async function createAuthority(name: string, days: number, nowMs = Date.now()): Promise<KeyPair> {
  const keys = await generateKeys();
  return { certificate: await selfSign(`CN=${name}`, days, nowMs, keys), key: await exportKey(keys.privateKey) };
}

/** The same authority (name and key) with a new life: what it signed before stays good, and whoever pinned its key notices nothing. */
export async function extendAuthority(authority: KeyPair, days: number, nowMs = Date.now()): Promise<KeyPair> {
  const { subject, publicKey } = new x509.X509Certificate(authority.certificate);
  const privateKey = await provider.subtle.importKey('pkcs8', x509.PemConverter.decode(authority.key)[0]!, algorithm, false, ['sign']);
  const keys = { privateKey, publicKey: await publicKey.export(algorithm, ['verify'], provider) as webcrypto.CryptoKey };
  return { certificate: await selfSign(subject, days, nowMs, keys), key: authority.key };
}

async function selfSign(name: string, days: number, nowMs: number, keys: webcrypto.CryptoKeyPair): Promise<string> {
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(), name, ...validity(days, nowMs), signingAlgorithm: algorithm, keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, provider),
    ],
  }, provider);
  return certificate.toString('pem');
}

/** A new key with a certificate for it. */
export async function issue(authority: KeyPair, request: CertificateRequest): Promise<KeyPair> {
  const keys = await generateKeys();
  return { certificate: await sign(authority, request, keys.publicKey), key: await exportKey(keys.privateKey) };
}

/** A certificate for somebody else's key. `publicKey` is SPKI PEM. @throws when it is no P-256 key */
export async function certify(authority: KeyPair, request: CertificateRequest, publicKey: string): Promise<string> {
  const spki = x509.PemConverter.decode(publicKey)[0];
  if (!spki) throw new Error('no public key in the PEM text');
  return sign(authority, request, await provider.subtle.importKey('spki', spki, algorithm, true, ['verify']));
}

async function sign(authority: KeyPair, request: CertificateRequest, publicKey: webcrypto.CryptoKey): Promise<string> {
  const issuer = new x509.X509Certificate(authority.certificate);
  const keyBytes = x509.PemConverter.decode(authority.key)[0]!;
  const signingKey = await provider.subtle.importKey('pkcs8', keyBytes, algorithm, false, ['sign']);
  const usage = request.use === 'client' ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: request.serial ?? serialNumber(), subject: distinguishedName(request.subject), issuer: issuer.subject,
    ...validity(request.days, request.nowMs ?? Date.now()),
    signingAlgorithm: algorithm, publicKey, signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer, false, provider),
      ...(request.hosts ? [new x509.SubjectAlternativeNameExtension(request.hosts.map((host) => ({ type: isIP(host) ? 'ip' as const : 'dns' as const, value: host })))] : []),
    ],
  }, provider);
  return certificate.toString('pem');
}

const generateKeys = (): Promise<webcrypto.CryptoKeyPair> => provider.subtle.generateKey(algorithm, true, ['sign', 'verify']);

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await provider.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

const validity = (days: number, nowMs: number): { notBefore: Date; notAfter: Date } =>
  ({ notBefore: new Date(nowMs - Math.min(backdateMs, days * dayMs / 10)), notAfter: new Date(nowMs + days * dayMs) });

/** 127 random bits, positive. */
function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0]! &= 0x7f;
  return Buffer.from(bytes).toString('hex');
}

const distinguishedName = ({ name, groups = [] }: Subject): x509.JsonName =>
  [...groups.map((group) => ({ O: [group] })), { CN: [name] }];
