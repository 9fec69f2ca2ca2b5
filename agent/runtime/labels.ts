/**
 * Labels on every container that an agent makes: with the agent's own state on disk, all it needs to know them again
 * after a restart. The `io.kubernetes` ones are those that log shippers and monitors know from the kubelet.
 */
export const label = {
  /** Which agent: several may share an engine. */
  owner: 'io.wherry.owner',
  podNamespace: 'io.kubernetes.pod.namespace',
  podName: 'io.kubernetes.pod.name',
  podUid: 'io.kubernetes.pod.uid',
  /** `POD` for the sandbox. */
  container: 'io.kubernetes.container.name',
  sandboxId: 'io.kubernetes.sandbox.id',
  /** When the sandbox was started in whose life this one was made, ms since 1970; absent when it was not started yet. */
  sandboxStart: 'io.wherry.sandbox-start',
  /** 0 for the first container of its name, one more with each restart. */
  restartCount: 'io.wherry.restart-count',
  /** `name@sha256:…` that its image was pulled by; absent for one that came from no registry. */
  imageDigest: 'io.wherry.image-digest',
  /** Of the parts of the spec whose change restarts the container. */
  hash: 'io.wherry.hash',
  /** How long to wait, from its end, before the next one of its name is started; ms. */
  backoffMs: 'io.wherry.backoff-ms',
  /** File on the host that holds its termination message. */
  messageFile: 'io.wherry.termination-message',
} as const;

export const sandboxName = 'POD';

/** `k8s_web_shop-1_default_0b2c…_0`, as the kubelet named containers on Docker. */
export function containerName(container: string, pod: { readonly name: string; readonly namespace: string; readonly uid: string }, attempt: number): string {
  return `k8s_${container}_${pod.name}_${pod.namespace}_${pod.uid}_${attempt}`;
}
