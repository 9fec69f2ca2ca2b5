import type { Pod } from '../../shared/kinds/pod.ts';
import { badRequest } from '../../shared/status.ts';

/** The container that a request for a pod's streams means, chosen and refused as the apiserver does. @throws StatusError 400 */
export function containerOf({ metadata, spec }: Pod, asked: string): string {
  const main = spec.containers.map(({ name }) => name);
  const all = [...main, ...(spec.initContainers ?? []).map(({ name }) => name), ...(spec.ephemeralContainers ?? []).map(({ name }) => name)];
  if (asked) {
    if (!all.includes(asked)) throw badRequest(`container ${asked} is not valid for pod ${metadata.name}`);
    return asked;
  }
  if (main.length === 1) return main[0]!;
  const inits = spec.initContainers?.length ? ` or one of the init containers: [${spec.initContainers.map(({ name }) => name).join(' ')}]` : '';
  throw badRequest(`a container name must be specified for pod ${metadata.name}, choose one of: [${main.join(' ')}]${inits}`);
}

/** The pod's node. @throws StatusError 400 while it has none */
export function hostOf({ metadata, spec }: Pod): string {
  if (!spec.nodeName) throw badRequest(`pod ${metadata.name} does not have a host assigned`);
  return spec.nodeName;
}
