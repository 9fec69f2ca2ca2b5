import type { PodStatus } from '../../shared/kinds/pod-status.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import { sandboxOf, type ContainerView } from './view.ts';

/** Where a pod can be reached now, and whether it is ready. */
export interface LocalPod { readonly ips: readonly string[]; readonly ready: boolean }

export interface LocalPodsOptions {
  /** Addresses of the node, which are those of pods on its network. */
  readonly nodeIps: () => readonly string[];
  /** Told when the address or readiness of a pod changed. */
  readonly onChange: () => void;
}

/** What is known of a pod of this node. */
interface Known { readonly pod: Pod; readonly views: readonly ContainerView[]; readonly status: PodStatus | undefined }

/** Addresses and readiness of this node's pods, which its listeners and DNS go by before and without the master. */
export class LocalPods {
  readonly #options: LocalPodsOptions;
  /** By uid, as last told. */
  readonly #told = new Map<string, string>();

  constructor(options: LocalPodsOptions) {
    this.#options = options;
  }

  /** A pod's present addresses, none while its sandbox does not run, and its readiness as last reported. */
  of({ pod, views, status }: Known): LocalPod {
    const sandbox = sandboxOf(views);
    const ips = sandbox?.state !== 'running' ? [] : pod.spec.hostNetwork ? this.#options.nodeIps() : sandbox.ips;
    return { ips, ready: status?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false };
  }

  /** A pod may have changed; undefined: it has gone. */
  changed(uid: string, pod: Known | undefined): void {
    const now = pod && JSON.stringify(this.of(pod));
    if (this.#told.get(uid) === now) return;
    if (now === undefined) this.#told.delete(uid);
    else this.#told.set(uid, now);
    this.#options.onChange();
  }
}
