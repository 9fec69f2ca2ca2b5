import { nodes } from '../../shared/kinds/node.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import { serviceAccounts } from '../../shared/kinds/serviceaccount.ts';
import { forbidden } from '../../shared/status.ts';
import { namedOf } from './account-claims.ts';
import type { AccountTokens } from './account-tokens.ts';
import type { Registry } from './registry.ts';

/** A token that a node asks for on behalf of one of its pods. */
export interface PodTokenRequest {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
  /** `''` for the API. */
  readonly audience: string;
  readonly seconds: number;
}

/**
 * The token for a volume of a pod. A node gets it only for a pod that is bound to it, only of that pod's account, and
 * only with an audience and a life that a volume of the pod names.
 * @throws StatusError 403, 404
 */
export async function podToken(registry: Registry, tokens: AccountTokens, nodeName: string, request: PodTokenRequest): Promise<string> {
  const { namespace, audience, seconds } = request;
  const pod = registry.get(pods, namespace, request.pod).object;
  const refuse = (why: string): Error => forbidden(pods, request.pod, `node ${JSON.stringify(nodeName)} ${why}`);
  if (pod.metadata.uid !== request.uid || pod.spec.nodeName !== nodeName) throw refuse('is not allowed to request a token for a pod that is not bound to it');
  if (!wants(pod, audience, seconds)) throw refuse('is not allowed to request a token that no volume of the pod names');
  const account = registry.get(serviceAccounts, namespace, pod.spec.serviceAccountName ?? 'default').object;
  const node = registry.find(nodes, '', nodeName);
  return tokens.issue({
    account, audiences: audience === '' ? [] : [audience], seconds,
    bound: { pod: namedOf(pod), node: node ? namedOf(node) : { name: nodeName, uid: '' } },
  });
}

const wants = ({ spec }: Pod, audience: string, seconds: number): boolean => (spec.volumes ?? []).some((volume) =>
  volume.projected?.sources?.some(({ serviceAccountToken: token }) => token && (token.audience ?? '') === audience && token.expirationSeconds === seconds));
