import { createHash, createPublicKey } from 'node:crypto';
import type { Clock } from '../shared/clock.ts';
import type { EnrolAnswer, EnrolRequest } from '../shared/enrolment.ts';
import { nodes } from '../shared/kinds/node.ts';
import { dnsSubdomainErrors } from '../shared/names.ts';
import { conflict, fieldInvalid, invalid, isAlreadyExists, notFound, StatusError } from '../shared/status.ts';
import type { Enroller } from './hub/enrolment.ts';
import { issuedAnnotation, keyAnnotation, recordedMs, serialOf } from './node-credentials.ts';
import type { Pki } from './pki.ts';
import type { Registry } from './registry/registry.ts';
import { checkJoinToken } from './registry/token.ts';

export interface EnrollerOptions {
  readonly registry: Registry;
  readonly pki: Pki;
  readonly clock: Clock;
  /** Life of a node's client certificate. */
  readonly certificateMs: number;
}

const dayMs = 86_400_000;

/**
 * Lets a node in: checks its token, ties its name to its key through the Node object, and certifies the key.
 * Whoever comes second with the same name and another key is refused until the Node object is deleted.
 * A node that is in gets new certificates for new keys; which of them counts, node-credentials.ts decides.
 */
export function createEnroller({ registry, pki, clock, certificateMs }: EnrollerOptions): Enroller {
  const certify = async (nodeName: string, publicKey: string): Promise<EnrolAnswer> => {
    const node = registry.find(nodes, '', nodeName);
    if (node?.metadata.annotations?.[keyAnnotation] === undefined) throw notFound(nodes, nodeName);
    // Later than the recorded certificate, whatever the clock says.
    const issuedMs = Math.max(clock.now(), (recordedMs(node) ?? 0) + 1);
    const request = {
      subject: { name: `system:node:${nodeName}`, groups: ['system:nodes'] }, use: 'client', days: certificateMs / dayMs,
      nowMs: clock.now(), serial: serialOf(issuedMs, node),
    } as const;
    return { certificate: await pki.certify(request, publicKey), ca: pki.authority.certificate };
  };
  return {
    get ca() { return pki.authority.certificate; },
    async enrol({ token, nodeName, publicKey }: EnrolRequest): Promise<EnrolAnswer> {
      const wrong = checkJoinToken(registry, clock, token);
      if (wrong) throw new StatusError(401, 'Unauthorized', `the join token is not accepted: ${wrong}`);
      const problems = dnsSubdomainErrors(nodeName);
      if (problems.length > 0) throw invalid(nodes, nodeName, problems.map((why) => fieldInvalid('metadata.name', nodeName, why)));
      await claimName(registry, nodeName, hashOf(publicKey), clock.now());
      return certify(nodeName, publicKey);
    },
    renew: certify,
  };
}

/** SHA-256 over the SPKI of a key in PEM, base64url. */
const hashOf = (publicKey: string): string =>
  createHash('sha256').update(createPublicKey(publicKey).export({ type: 'spki', format: 'der' })).digest('base64url');

/** Makes the Node object for a key, or finds it made for the same one. @throws StatusError 409 */
async function claimName(registry: Registry, name: string, key: string, nowMs: number): Promise<void> {
  const annotations = { [keyAnnotation]: key, [issuedAnnotation]: new Date(nowMs).toISOString() };
  try {
    await registry.create(nodes, '', { metadata: { name, annotations } });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    await registry.modify(nodes, '', name, (node) => {
      const known = node.metadata.annotations?.[keyAnnotation];
      if (known === key) return undefined;
      // A Node that an administrator made beforehand belongs to whoever comes first.
      if (known !== undefined) throw conflict(nodes, name, `it is enrolled with another key; if that node is gone for good, run "kubectl delete node ${name}" and try again`);
      node.metadata.annotations = { ...node.metadata.annotations, ...annotations };
      return node;
    });
  }
}
