import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import { toTime } from '../../shared/time.ts';

/** What one thing uses: CPU in thousand-millionths of one, working set in bytes. */
interface Amounts { readonly nanocores: number; readonly memoryBytes: number }

export interface SummaryUse {
  readonly node: Amounts;
  readonly pods: readonly { readonly pod: Pod; readonly containers: readonly (Amounts & { readonly name: string })[] }[];
}

/** `/stats/summary` of stats/v1alpha1, as far as Docker and /proc tell: CPU rates and working sets. Pure. */
export function summary(use: SummaryUse, all: readonly { readonly pod: Pod; readonly status: PodStatus | undefined }[], nodeName: string, nowMs: number): object {
  const time = toTime(nowMs);
  const amounts = ({ nanocores, memoryBytes }: Amounts): object =>
    ({ cpu: { time, usageNanoCores: nanocores }, memory: { time, workingSetBytes: memoryBytes } });
  const statuses = new Map(all.map(({ pod, status }) => [pod.metadata.uid, status]));
  const pods = use.pods.map(({ pod: { metadata }, containers }) => {
    const status = statuses.get(metadata.uid);
    const total = containers.reduce((sum, { nanocores, memoryBytes }) => ({ nanocores: sum.nanocores + nanocores, memoryBytes: sum.memoryBytes + memoryBytes }), { nanocores: 0, memoryBytes: 0 });
    return {
      podRef: { name: metadata.name, namespace: metadata.namespace, uid: metadata.uid }, startTime: status?.startTime ?? null, ...amounts(total),
      containers: containers.map((container) => ({ name: container.name, startTime: startOf(status, container.name), ...amounts(container) })),
    };
  });
  return { node: { nodeName, startTime: null, ...amounts(use.node) }, pods };
}

function startOf(status: PodStatus | undefined, name: string): string | null {
  const all = [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? []), ...(status?.ephemeralContainerStatuses ?? [])];
  return all.find((one) => one.name === name)?.state?.running?.startedAt ?? null;
}
