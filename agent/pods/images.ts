import { sleep, type Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { RuntimeError, type ImageDetails, type RegistryAuth, type Runtime } from '../runtime/runtime.ts';
import { registryOf } from './pull-secrets.ts';

export type PullPolicy = 'Always' | 'IfNotPresent' | 'Never';

/** Docker's grammar of image names, without its length limits. */
const reference = /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?\/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?::[\w][\w.-]{0,127})?(?:@sha256:[a-f0-9]{64})?$/;

/** The policy, or what the API server would have defaulted it to. */
export function pullPolicy(image: string, policy: PullPolicy | undefined): PullPolicy {
  if (policy) return policy;
  if (image.includes('@')) return 'IfNotPresent';
  const tag = /:([^/:]+)$/.exec(image)?.[1] ?? 'latest';
  return tag === 'latest' ? 'Always' : 'IfNotPresent';
}

export type ImageReason = 'InvalidImageName' | 'ErrImageNeverPull' | 'ErrImagePull';

export class ImageError extends Error {
  readonly reason: ImageReason;

  constructor(reason: ImageReason, message: string) {
    super(message);
    this.name = 'ImageError';
    this.reason = reason;
  }
}

export interface Obtained {
  readonly image: ImageDetails;
  readonly from: 'registry' | 'node';
  /** Why the node's copy had to do, though the policy says Always. */
  readonly instead?: string;
  readonly tookMs: number;
}

export interface ImagesOptions { readonly runtime: Runtime; readonly clock: Clock; readonly log: Log }

/** How long a registry may keep silent while the node has a copy, and how long one that did is left alone. */
const patienceMs = 3_000;
const restMs = 120_000;

/**
 * Images of this node. A pull that several pods wait for is made once.
 *
 * Unlike a kubelet's, a policy of Always does not keep a pod from starting while the registry cannot be reached and the
 * node has the image: that would be every pod of a site that reboots without its uplink. A registry's no stays a no.
 */
export class Images {
  readonly #options: ImagesOptions;
  readonly #pulls = new Map<string, Promise<void>>();
  readonly #looks = new Map<string, Promise<ImageDetails | undefined>>();
  readonly #silentUntil = new Map<string, number>();
  readonly #usedMs = new Map<string, number>();

  constructor(options: ImagesOptions) {
    this.#options = options;
  }

  /**
   * Gets an image by the rules of a policy; `pulling` is called before a pull, not when the image is there.
   * @throws ImageError, or RuntimeError when the engine does not answer
   */
  async obtain(name: string, policy: PullPolicy, auths: readonly RegistryAuth[], pulling: () => void, signal: AbortSignal): Promise<Obtained> {
    if (!reference.test(name)) {
      throw new ImageError('InvalidImageName', `Failed to apply default image tag "${name}": couldn't parse image name "${name}": invalid reference format`);
    }
    const began = this.#options.clock.monotonic();
    const present = await this.#look(name);
    if (present && policy !== 'Always') return this.#use(present, 'node', began);
    if (policy === 'Never') throw new ImageError('ErrImageNeverPull', `Container image "${name}" is not present with pull policy of Never`);
    if (present && (this.#silentUntil.get(registryOf(name)) ?? 0) > began) return { ...this.#use(present, 'node', began), instead: `registry ${registryOf(name)} did not answer lately` };
    pulling();
    try {
      await this.#pullWith(name, auths, present !== undefined, signal);
    } catch (error) {
      if (!(error instanceof RuntimeError)) throw error;
      if (!present || error.fault === 'notFound' || error.fault === 'invalid') throw new ImageError('ErrImagePull', error.message);
      this.#silentUntil.set(registryOf(name), this.#options.clock.monotonic() + restMs);
      return { ...this.#use(present, 'node', began), instead: error.message };
    }
    const pulled = await this.#options.runtime.image(name);
    if (!pulled) throw new ImageError('ErrImagePull', `image ${name} is not there after its pull`);
    return this.#use(pulled, 'registry', began);
  }

  /** When an image was last given to a container, on the monotonic clock; 0 for not since the agent started. */
  lastUsedMs(id: string): number {
    return this.#usedMs.get(id) ?? 0;
  }

  /** One look for all pods that ask at the same time. */
  #look(name: string): Promise<ImageDetails | undefined> {
    const known = this.#looks.get(name);
    if (known) return known;
    const look = this.#options.runtime.image(name).finally(() => this.#looks.delete(name));
    this.#looks.set(name, look);
    return look;
  }

  #use(image: ImageDetails, from: Obtained['from'], began: number): Obtained {
    this.#usedMs.set(image.id, this.#options.clock.monotonic());
    return { image, from, tookMs: Math.max(0, this.#options.clock.monotonic() - began) };
  }

  /** With each of the credentials until one does; without any if there are none. */
  async #pullWith(name: string, auths: readonly RegistryAuth[], impatient: boolean, signal: AbortSignal): Promise<void> {
    for (const [index, auth] of [...auths].entries()) {
      try {
        return await this.#pull(name, auth, impatient, signal);
      } catch (error) {
        const verdict = error instanceof RuntimeError && (error.fault === 'notFound' || error.fault === 'invalid');
        if (!verdict || index === auths.length - 1) throw error;
      }
    }
    return this.#pull(name, undefined, impatient, signal);
  }

  #pull(name: string, auth: RegistryAuth | undefined, impatient: boolean, signal: AbortSignal): Promise<void> {
    const key = `${name}\n${auth ? JSON.stringify(auth) : ''}\n${impatient}`;
    const known = this.#pulls.get(key);
    if (known) return known;
    const pull = this.#pullOnce(name, auth, impatient, signal).finally(() => this.#pulls.delete(key));
    this.#pulls.set(key, pull);
    return pull;
  }

  /** With a copy at hand, gives up on a registry that says nothing; without one, waits as long as the engine does. */
  async #pullOnce(name: string, auth: RegistryAuth | undefined, impatient: boolean, signal: AbortSignal): Promise<void> {
    const { runtime, clock } = this.#options;
    const abort = new AbortController();
    const cancel = impatient ? clock.after(patienceMs, () => abort.abort()) : () => {};
    const either = AbortSignal.any([signal, abort.signal]);
    const pull = runtime.pull(name, auth, either, cancel);
    if (!impatient) return pull;
    // An engine that has not answered the request yet cannot be told to stop; its answer is then of no interest.
    const settled = new AbortController();
    const silent = sleep(clock, 2 ** 31 - 1, AbortSignal.any([either, settled.signal]));
    const lost = silent.then(() => { if (either.aborted) throw new RuntimeError('unreachable', `registry ${registryOf(name)} did not answer within ${patienceMs / 1000}s`); });
    try {
      await Promise.race([pull, lost]);
    } finally {
      cancel();
      settled.abort();
      pull.catch(() => undefined);
    }
  }
}
