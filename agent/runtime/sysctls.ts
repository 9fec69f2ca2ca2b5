import type { Pod } from '../../shared/kinds/pod.ts';

/** Kernel parameters that belong to a pod alone and cannot harm others: the kubelet's safe set. */
const safe = new Set([
  'kernel.shm_rmid_forced', 'net.ipv4.ip_local_port_range', 'net.ipv4.tcp_syncookies', 'net.ipv4.ping_group_range',
  'net.ipv4.ip_unprivileged_port_start', 'net.ipv4.ip_local_reserved_ports', 'net.ipv4.tcp_keepalive_time', 'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl', 'net.ipv4.tcp_keepalive_probes', 'net.ipv4.tcp_rmem', 'net.ipv4.tcp_wmem',
]);

/** With dots, as the kernel's file names may be given with slashes. */
const normalized = (name: string): string => (/^[^/]*\./.test(name) ? name : name.replaceAll('.', '\0').replaceAll('/', '.').replaceAll('\0', '/'));

const isIpc = (name: string): boolean => /^(kernel\.(shm|msg|sem)|fs\.mqueue\.)/.test(name);

/** What is wrong with the first of a pod's sysctls that it may not set, in the kubelet's words; undefined when all are allowed. */
export function forbiddenSysctl({ spec }: Pod, unsafe: readonly string[]): string | undefined {
  for (const { name: given } of spec.securityContext?.sysctls ?? []) {
    const name = normalized(given);
    const allowed = safe.has(name) || unsafe.some((pattern) => (pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern));
    if (!allowed) return `${JSON.stringify(name)} not allowlisted`;
    if (isIpc(name) && spec.hostIPC) return `${JSON.stringify(name)} not allowed with host ipc enabled`;
    if (name.startsWith('net.') && spec.hostNetwork) return `${JSON.stringify(name)} not allowed with host net enabled`;
  }
  return undefined;
}

/** As the engine wants them: by dotted name. */
export const sysctlsOf = ({ spec }: Pod): Record<string, string> =>
  Object.fromEntries((spec.securityContext?.sysctls ?? []).map(({ name, value }) => [normalized(name), value]));
