import type { Container } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { unservedVolume } from '../volumes/source.ts';
import type { Failure } from './ending.ts';

/**
 * What of a pod this agent cannot do. Such a pod fails at once and says so: a field that is silently ignored would be
 * found out much later, and by a worse way. The table in design/pods.md lists them all.
 */
export function refusal(pod: Pod): Failure | undefined {
  const message = [...podRefusals(pod), ...containersOf(pod).flatMap((c) => containerRefusals(c))][0];
  return message === undefined ? undefined : { reason: 'UnsupportedField', message };
}

const containersOf = (pod: Pod): Container[] => [...(pod.spec.initContainers ?? []), ...pod.spec.containers];

function podRefusals(pod: Pod): string[] {
  const { spec } = pod;
  const found: string[] = [];
  const unless = (bad: unknown, message: string): void => { if (bad) found.push(message); };
  unless(spec.hostUsers === false, 'spec.hostUsers false: user namespaces per pod are not served');
  unless(spec.resourceClaims?.length, 'spec.resourceClaims: device claims are not served');
  unless(spec.resources?.limits ?? spec.resources?.requests, 'spec.resources: resources per pod are not served; give them to its containers');
  unless(spec.securityContext?.windowsOptions, 'spec.securityContext.windowsOptions: only linux containers run here');
  unless(spec.securityContext?.supplementalGroupsPolicy === 'Strict', 'spec.securityContext.supplementalGroupsPolicy Strict is not served');
  for (const volume of spec.volumes ?? []) {
    const why = unservedVolume(volume);
    unless(why, `spec.volumes ${volume.name}: ${why}`);
  }
  return found;
}

function containerRefusals(container: Container): string[] {
  const found: string[] = [];
  const at = `container ${container.name}`;
  const unless = (bad: unknown, message: string): void => { if (bad) found.push(`${at}: ${message}`); };
  unless(container.volumeDevices?.length, 'volumeDevices: raw block devices are not served');
  unless(container.resources?.claims?.length, 'resources.claims: device claims are not served');
  unless(container.securityContext?.windowsOptions, 'securityContext.windowsOptions: only linux containers run here');
  unless(container.volumeMounts?.some((mount) => mount.recursiveReadOnly === 'Enabled'), 'volumeMounts.recursiveReadOnly Enabled is not served');
  for (const [resource, limit] of Object.entries(container.resources?.limits ?? {})) {
    unless(resource.includes('/') || resource.startsWith('hugepages-'), `resources.limits ${resource} ${limit}: extended resources are not served`);
  }
  return found;
}
