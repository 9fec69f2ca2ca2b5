import type { Node, NodeCondition, Taint } from '../../shared/kinds/node.ts';

export const notReadyTaint = 'node.kubernetes.io/not-ready';
export const unreachableTaint = 'node.kubernetes.io/unreachable';
const unschedulableTaint = 'node.kubernetes.io/unschedulable';

/** Taint by condition type and status; all with the effect NoSchedule. */
const byCondition: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  Ready: { False: notReadyTaint, Unknown: unreachableTaint },
  MemoryPressure: { True: 'node.kubernetes.io/memory-pressure' },
  DiskPressure: { True: 'node.kubernetes.io/disk-pressure' },
  PIDPressure: { True: 'node.kubernetes.io/pid-pressure' },
  NetworkUnavailable: { True: 'node.kubernetes.io/network-unavailable' },
};
const managed: ReadonlySet<string> = new Set([unschedulableTaint, ...Object.values(byCondition).flatMap((keys) => Object.values(keys))]);

export const readyCondition = (node: Node): NodeCondition | undefined => node.status.conditions?.find(({ type }) => type === 'Ready');

/**
 * The taints that a node should have by its conditions, its others unchanged; undefined when it has them. `evicting`
 * says whether trouble may drive pods away (NoExecute).
 */
export function taintsFor(node: Node, evicting: boolean, nowTime: string): Taint[] | undefined {
  const before = node.spec.taints ?? [];
  const wanted = [...noScheduleTaints(node).map((key) => ({ key, effect: 'NoSchedule' as const })), ...(evicting ? noExecuteTaints(node) : [])];
  const kept = before.filter((taint) => !isManaged(taint) || wanted.some((other) => same(taint, other)));
  const added = wanted.filter((taint) => !before.some((other) => same(taint, other)));
  if (added.length === 0 && kept.length === before.length) return undefined;
  return [...kept, ...added.map((taint) => ({ ...taint, timeAdded: nowTime }))];
}

function noScheduleTaints(node: Node): string[] {
  const keys = (node.status.conditions ?? []).flatMap(({ type, status }) => byCondition[type]?.[status] ?? []);
  if (!readyCondition(node)) keys.push(notReadyTaint);
  if (node.spec.unschedulable) keys.push(unschedulableTaint);
  return keys;
}

function noExecuteTaints(node: Node): Taint[] {
  const key = byCondition['Ready']![readyCondition(node)?.status ?? ''];
  return key ? [{ key, effect: 'NoExecute' }] : [];
}

const same = (a: Taint, b: Taint): boolean => a.key === b.key && a.effect === b.effect;

const isManaged = ({ key, effect }: Taint): boolean =>
  (effect === 'NoSchedule' && managed.has(key)) || (effect === 'NoExecute' && (key === notReadyTaint || key === unreachableTaint));
