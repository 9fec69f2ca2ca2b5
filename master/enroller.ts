import { createHash } from 'node:crypto';
import type { Clock } from '../shared/clock.ts';
import type { EnrolAnswer, EnrolRequest } from '../shared/enrolment.ts';
import { nodes } from '../shared/kinds/node.ts';
import { dnsSubdomainErrors } from '../shared/names.ts';
import { conflict, fieldInvalid, invalid, isAlreadyExists, StatusError } from '../shared/status.ts';
import type { Enroller } from './hub/enrolment.ts';
import type { Pki } from './pki.ts';
import type { Registry } from './registry/registry.ts';
import { checkJoinToken } from './registry/token.ts';

/** Annotation of a Node: SHA-256 over the SPKI of the key that has its name, base64url. */
export const keyAnnotation = 'wherry.io/public-key';

/** Life of a node's client certificate. */
const certificateDays = 365;

export interface EnrollerOptions {
  readonly registry: Registry;
  readonly pki: Pki;
  readonly clock: Clock;
}

/**
 * Lets a node in: checks its token, ties its name to its key through the Node object, and certifies the key.
 * Whoever comes second with the same name and another key is refused until the Node object is deleted.
 */
export function createEnroller({ registry, pki, clock }: EnrollerOptions): Enroller {
  return {
    ca: pki.authority.certificate,
    async enrol({ token, nodeName, publicKey }: EnrolRequest): Promise<EnrolAnswer> {
      const wrong = checkJoinToken(registry, clock, token);
      if (wrong) throw new StatusError(401, 'Unauthorized', `the join token is not accepted: ${wrong}`);
      const problems = dnsSubdomainErrors(nodeName);
      if (problems.length > 0) throw invalid(nodes, nodeName, problems.map((why) => fieldInvalid('metadata.name', nodeName, why)));
      await claimName(registry, nodeName, createHash('sha256').update(publicKey.trim()).digest('base64url'));
      const subject = { name: `system:node:${nodeName}`, groups: ['system:nodes'] };
      return { certificate: await pki.certify({ subject, use: 'client', days: certificateDays }, publicKey), ca: pki.authority.certificate };
    },
  };
}

/** Makes the Node object for a key, or finds it made for the same one. @throws StatusError 409 */
async function claimName(registry: Registry, name: string, key: string): Promise<void> {
  try {
    await registry.create(nodes, '', { metadata: { name, annotations: { [keyAnnotation]: key } } });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    await registry.modify(nodes, '', name, (node) => {
      const known = node.metadata.annotations?.[keyAnnotation];
      if (known === key) return undefined;
      // A Node that an administrator made beforehand belongs to whoever comes first.
      if (known !== undefined) throw conflict(nodes, name, `it is enrolled with another key; if that node is gone for good, run "kubectl delete node ${name}" and try again`);
      node.metadata.annotations = { ...node.metadata.annotations, [keyAnnotation]: key };
      return node;
    });
  }
}
