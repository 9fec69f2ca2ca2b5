import type { ContainerStatus } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import { currentOf, previousOf, slots, type ContainerView } from './view.ts';

/** As the kubelet's validateContainerLogStatus: the container whose log is meant, or why there is none to show. */
export function logTarget(
  pod: Pod, views: readonly ContainerView[], status: PodStatus | undefined, container: string, previous: boolean,
): { readonly id: string } | { readonly refused: string } {
  const name = pod.metadata.name ?? '';
  if (!slots(pod).some((slot) => slot.container.name === container)) return { refused: `container ${container} is not valid for pod ${name}` };
  const current = currentOf(views, container);
  const ended = previousOf(views, container);
  const reported = [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? []), ...(status?.ephemeralContainerStatuses ?? [])].find((s) => s.name === container);
  if (previous) {
    // While the next one is held up, the last one is at once the current and the previous container.
    const last = ended ?? (reported?.state?.waiting && current?.state === 'exited' ? current : undefined);
    return last ? { id: last.id } : { refused: `previous terminated container "${container}" in pod "${name}" not found` };
  }
  const shown = current?.state === 'created' ? ended : current;
  return shown ? { id: shown.id } : { refused: `container "${container}" in pod "${name}" is ${absence(reported)}` };
}

function absence(status: ContainerStatus | undefined): string {
  const reason = status?.state?.waiting?.reason;
  if (!status) return 'not available';
  switch (reason) {
    case undefined: return 'waiting to start - no logs yet';
    case 'ErrImagePull': return 'waiting to start: image can\'t be pulled';
    case 'ImagePullBackOff': return 'waiting to start: trying and failing to pull image';
    default: return `waiting to start: ${reason}`;
  }
}
