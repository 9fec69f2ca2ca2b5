import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '../shared/clock.ts';
import { nodes, type Node } from '../shared/kinds/node.ts';
import type { Log } from '../shared/log.ts';
import { isNotFound, unauthorized } from '../shared/status.ts';
import type { ClientCertificate, NodeAuthenticator } from './api/authenticate.ts';
import type { Registry } from './registry/registry.ts';

/** Annotation of a Node: SHA-256 over the SPKI of the key that has its name, base64url. */
export const keyAnnotation = 'wherry.io/public-key';
/** Annotation of a Node: when that key's certificate was issued, RFC 3339 with milliseconds. Later ones of this node are newer. */
export const issuedAnnotation = 'wherry.io/certificate-issued';

export interface NodeCredentialsOptions {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
  /** For how long after its end a certificate still lets its node in on {@link agentPaths}, in ms. */
  readonly windowMs: number;
  /** Paths that an agent needs to get a new certificate. */
  readonly agentPaths: readonly string[];
}

/**
 * Decides which certificates of nodes are good. What counts is the Node object: it names one key, and is itself the right
 * to be in the cluster.
 *
 * ```
 * no Node ──enrolment──▶ key A ──first use of a later certificate──▶ key B ──…
 *    ▲                     │                                          │
 *    └─────────kubectl delete node──────────────────────────────────────┘
 * ```
 *
 * A certificate that was issued for this very Node object, and after the recorded one, is taken, and recorded, when it is
 * first used: only the authority makes certificates, and it made this one for the holder of an earlier key. So an answer
 * that was lost bars nobody, and after a restore from a backup newer certificates than the store knows are good.
 */
export class NodeCredentials implements NodeAuthenticator {
  readonly #options: NodeCredentialsOptions;

  constructor(options: NodeCredentialsOptions) {
    this.#options = options;
  }

  /** Whether a node belongs to the cluster at all. */
  knows(node: string): boolean {
    return keyOf(this.#options.registry.find(nodes, '', node)) !== undefined;
  }

  /** @throws StatusError 401; rejects with it when a newer certificate could not be recorded because it was outrun */
  admit(certificate: ClientCertificate, path: string): void | Promise<void> {
    const name = nodeName(certificate);
    this.#checkTime(certificate, path);
    const node = this.#options.registry.find(nodes, '', name);
    const verdict = judge(node, certificate);
    if (verdict === 'newer') return this.#record(name, certificate);
    if (verdict !== 'current') throw unauthorized(verdict);
  }

  /** A certificate's time counts for everything but the way to a new one. */
  #checkTime({ name, fromMs, toMs }: ClientCertificate, path: string): void {
    const { clock, windowMs, agentPaths } = this.#options;
    const now = clock.now();
    if (now >= fromMs && now <= toMs) return;
    if (!agentPaths.includes(path)) throw unauthorized();
    // Not yet valid: this master's clock is behind that of the one that issued it. The key decides.
    if (now - toMs > windowMs) throw unauthorized(`the certificate of ${name} ended at ${new Date(toMs).toISOString()}, longer ago than the offline window of this master`);
  }

  async #record(name: string, certificate: ClientCertificate): Promise<void> {
    const { registry, log } = this.#options;
    try {
      const { object } = await registry.modify(nodes, '', name, (node) => {
        if (judge(node, certificate) !== 'newer') return undefined;
        const issued = new Date(readSerial(certificate.serial)!.ms).toISOString();
        node.metadata.annotations = { ...node.metadata.annotations, [keyAnnotation]: certificate.publicKey, [issuedAnnotation]: issued };
        return node;
      });
      const verdict = judge(object, certificate);
      if (verdict !== 'current') throw unauthorized(verdict);
      log.info('node uses its new certificate; older ones are void', { node: name });
    } catch (error) {
      throw isNotFound(error) ? unauthorized(deleted(name)) : error;
    }
  }
}

const prefix = 'system:node:';
const nodeName = ({ name }: ClientCertificate): string => (name.startsWith(prefix) ? name.slice(prefix.length) : '');
const keyOf = (node: Node | undefined): string | undefined => node?.metadata.annotations?.[keyAnnotation];
const deleted = (name: string): string =>
  `node "${name}" is not in this cluster (any more); to let it in again, start its agent with a new token (wherry token create)`;

/** `current`, `newer`, or why the certificate is not good. */
function judge(node: Node | undefined, certificate: ClientCertificate): string {
  const name = nodeName(certificate);
  const key = keyOf(node);
  if (!name || !node || key === undefined) return deleted(name);
  if (key === certificate.publicKey) return 'current';
  const [recorded, issue] = [recordedMs(node), readSerial(certificate.serial)];
  if (recorded !== undefined && issue && issue.node === shortUid(node) && issue.ms > recorded) return 'newer';
  return `this certificate of node "${name}" was replaced by a newer one`;
}

/** When the certificate of a node's recorded key was issued; undefined when nobody knows. */
export function recordedMs(node: Node | undefined): number | undefined {
  const ms = Date.parse(node?.metadata.annotations?.[issuedAnnotation] ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}

/** Serial number of a node's certificate: mark, time of issue in ms (6 bytes), for which Node object (6), random (3). */
const mark = '57';
const serialForm = new RegExp(`^${mark}([0-9a-f]{12})([0-9a-f]{12})[0-9a-f]{6}$`, 'i');

const shortUid = (node: Node): string => createHash('sha256').update(node.metadata.uid ?? '').digest('hex').slice(0, 12);

/** A serial number that says when, and for which Node object, a certificate was issued. */
export const serialOf = (ms: number, node: Node): string =>
  mark + Math.floor(ms).toString(16).padStart(12, '0') + shortUid(node) + randomBytes(3).toString('hex');

/** Its reverse; undefined for a serial number of another form. */
function readSerial(serial: string): { readonly ms: number; readonly node: string } | undefined {
  const found = serialForm.exec(serial);
  return found ? { ms: Number.parseInt(found[1]!, 16), node: found[2]!.toLowerCase() } : undefined;
}
