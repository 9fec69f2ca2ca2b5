import { isDeepStrictEqual } from 'node:util';
import { leases } from '../../shared/kinds/lease.ts';
import { nodes, type Node } from '../../shared/kinds/node.ts';
import { pods, type Pod } from '../../shared/kinds/pod.ts';
import type { KubeObject } from '../../shared/meta.ts';
import { forbidden } from '../../shared/status.ts';
import { mayLabelItself } from '../registry/node-labels.ts';
import type { Admission, Attempt, User } from '../registry/types.ts';

const prefix = 'system:node:';

/** A node's own credentials write its own Node, Lease and the pods bound to it, and nothing of other nodes. */
export const nodeRestriction: Admission = {
  name: 'NodeRestriction',
  handles: ({ options }) => nodeOf(options.user) !== undefined,
  validate(attempt) {
    const node = nodeOf(attempt.options.user)!;
    switch (attempt.kind.prefix) {
      case nodes.prefix: return checkNode(attempt, node);
      case pods.prefix: return checkPod(attempt, node);
      case leases.prefix: return checkLease(attempt, node);
    }
  },
};

/** Name of the node that a user is, or undefined. */
function nodeOf(user: User | undefined): string | undefined {
  return user?.groups.includes('system:nodes') && user.name.startsWith(prefix) ? user.name.slice(prefix.length) : undefined;
}

function checkNode({ name, operation, subresource, object, old }: Attempt, node: string): void {
  if (name !== node) throw forbidden(nodes, name, `node ${JSON.stringify(node)} is not allowed to modify node ${JSON.stringify(name)}`);
  if (operation === 'DELETE' || subresource === 'status') return;
  const wrong = [...changedLabels(object, old)].filter((label) => !mayLabelItself(label)).sort().join(', ');
  if (wrong) throw forbidden(nodes, name, `node ${JSON.stringify(node)} is not allowed to ${old ? 'modify' : 'set the following'} labels: ${wrong}`);
  if (!old) return;
  const check = (what: string, part: (state: KubeObject) => unknown): void => {
    if (!isDeepStrictEqual(part(object), part(old))) throw forbidden(nodes, name, `node ${JSON.stringify(node)} is not allowed to modify ${what}`);
  };
  check('taints', (state) => (state as Node).spec?.taints ?? []);
  check('owner references', ({ metadata }) => metadata.ownerReferences ?? []);
}

function* changedLabels({ metadata: { labels = {} } }: KubeObject, old: KubeObject | undefined): Generator<string> {
  const before = old?.metadata.labels ?? {};
  for (const label of new Set([...Object.keys(labels), ...Object.keys(before)])) if (labels[label] !== before[label]) yield label;
}

function checkPod({ name, operation, subresource, object, old }: Attempt, node: string): void {
  const own = ((old ?? object) as Pod).spec.nodeName === node;
  if (operation === 'CREATE') throw forbidden(pods, name, `pod does not have "kubernetes.io/config.mirror" annotation, node ${JSON.stringify(node)} can only create mirror pods`);
  if (operation === 'UPDATE' && subresource !== 'status') throw forbidden(pods, name, `unexpected operation "UPDATE", node ${JSON.stringify(node)} can only update the status of pods`);
  if (own) return;
  const what = operation === 'DELETE' ? 'delete pods' : 'update pod status for pods';
  throw forbidden(pods, name, `node ${JSON.stringify(node)} can only ${what} with spec.nodeName set to itself`);
}

function checkLease({ name, namespace }: Attempt, node: string): void {
  if (namespace !== 'kube-node-lease') throw forbidden(leases, name, 'can only access leases in the "kube-node-lease" system namespace');
  if (name !== node) throw forbidden(leases, name, 'can only access node lease with the same name as the requesting node');
}
