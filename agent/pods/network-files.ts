import { readFile } from 'node:fs/promises';
import type { Container } from '../../shared/kinds/container.ts';
import { resolvConfText } from '../../shared/resolv-conf.ts';
import type { Mount } from '../runtime/runtime.ts';
import { involvedPod } from './events.ts';
import { hostNetworkHosts, managedHosts } from './hosts-file.ts';
import type { PodState } from './pod-state.ts';
import { podResolver, wantsClusterDns } from './resolv-conf.ts';
import { sandboxOf } from './view.ts';

const hostsPath = '/etc/hosts';
const resolvPath = '/etc/resolv.conf';

/** Mounts of the pod's /etc/hosts and /etc/resolv.conf, which all its containers share; not where it mounts something of its own. */
export async function networkMounts(state: PodState, container: Pick<Container, 'volumeMounts'>): Promise<Mount[]> {
  const files = await writeNetworkFiles(state);
  return files.filter(({ target }) => !container.volumeMounts?.some(({ mountPath }) => mountPath === target))
    .map(({ source, target }) => ({ Type: 'bind', Source: source, Target: target, ReadOnly: false }));
}

/**
 * Brings both files up to date, in place, so that they change in containers that have them mounted: before a container
 * starts, the pod may have got an address, or another one than before.
 */
export async function writeNetworkFiles(state: PodState): Promise<{ readonly source: string; readonly target: string }[]> {
  const { context, pod } = state;
  const [hosts, resolv] = await Promise.all([hostsText(state), resolvText(state)]);
  return Promise.all([
    context.volumes.podFile(pod, 'etc-hosts', hosts).then((source) => ({ source, target: hostsPath })),
    context.volumes.podFile(pod, 'resolv.conf', resolv).then((source) => ({ source, target: resolvPath })),
  ]);
}

async function hostsText({ context, pod, views }: PodState): Promise<string> {
  if (pod.spec.hostNetwork) return hostNetworkHosts(pod, await readFile(hostsPath, 'utf8').catch(() => '127.0.0.1\tlocalhost\n'));
  return managedHosts(pod, context.naming.cluster().domain, sandboxOf([...views.values()])?.ips ?? []);
}

async function resolvText({ context, pod, told }: PodState): Promise<string> {
  const cluster = context.naming.cluster();
  const { settings, omitted } = podResolver(pod, cluster, await context.naming.host());
  const tell = (reason: string, message: string): void => {
    if (told.has(message)) return;
    told.add(message);
    context.events.event(involvedPod(pod), 'Warning', reason, message);
  };
  for (const message of omitted) tell('DNSConfigForming', message);
  if (wantsClusterDns(pod) && cluster.servers.length === 0) {
    tell('MissingClusterDNS', `pod: "${pod.metadata.name}_${pod.metadata.namespace}(${pod.metadata.uid})". kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.`);
  }
  return resolvConfText(settings);
}
