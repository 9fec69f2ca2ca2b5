import type { Container } from '../../shared/kinds/container.ts';
import type { Secret } from '../../shared/kinds/secret.ts';
import { involvedPod } from './events.ts';
import { ImageError, pullPolicy, type Obtained } from './images.ts';
import type { Step } from './plan.ts';
import type { PodState } from './pod-state.ts';
import { authsFor } from './pull-secrets.ts';
import { firstBackoffMs, maxBackoffMs } from './restart.ts';
import { slots } from './view.ts';

/** For how long a failed pull shows as ErrImagePull before it shows as ImagePullBackOff. */
const errorShownMs = 1_500;

/** Begins to get a container's image and returns; until it is there or has failed, the container is held back. */
export async function ensureImage(state: PodState, step: Extract<Step, { type: 'ensureImage' }>, signal: AbortSignal): Promise<void> {
  const container = slots(state.pod).find((slot) => slot.container.name === step.container)?.container;
  if (!container) return;
  const failure = state.waiting.get(container.name);
  if (failure?.reason === 'ErrImagePull') return backOff(state, container, failure.message);
  state.holdUntil(container.name, Infinity);
  state.start(() => obtain(state, container, signal));
}

async function obtain(state: PodState, container: Container, signal: AbortSignal): Promise<void> {
  const { context, pod } = state;
  const name = container.image ?? '';
  const event = eventOf(state, container);
  try {
    const references = context.references(pod.metadata.namespace ?? '');
    const named = (pod.spec.imagePullSecrets ?? []).map(({ name: secret = '' }) => ({ secret, object: references.secret(secret) }));
    const missing = named.filter(({ object }) => !object).map(({ secret }) => secret);
    if (missing.length > 0) event('Warning', 'FailedToRetrieveImagePullSecret', `Unable to retrieve some image pull secrets (${missing.join(', ')}); attempting to pull the image may not succeed.`);
    const secrets = named.map(({ object }) => object).filter((object): object is Secret => object !== undefined);
    const obtained = await context.images.obtain(name, pullPolicy(name, container.imagePullPolicy), authsFor(name, secrets), () => event('Normal', 'Pulling', `Pulling image "${name}"`), signal);
    state.images.set(container.name, obtained.image);
    state.succeeded(container.name);
    tell(event, name, obtained);
  } catch (error) {
    if (!signal.aborted) failed(state, container, error as Error);
  }
}

type Event = (type: 'Normal' | 'Warning', reason: string, message: string) => void;

const eventOf = ({ context, pod }: PodState, container: Container): Event =>
  (type, reason, message) => context.events.event(involvedPod(pod, container.name), type, reason, message);

function tell(event: Event, name: string, { from, instead, tookMs, image }: Obtained): void {
  if (instead) event('Warning', 'Failed', `Failed to pull image "${name}": ${instead}; using the copy on the machine`);
  if (from === 'node') return event('Normal', 'Pulled', `Container image "${name}" already present on machine`);
  const took = tookMs < 1000 ? `${Math.round(tookMs)}ms` : `${(tookMs / 1000).toFixed(3)}s`;
  return event('Normal', 'Pulled', `Successfully pulled image "${name}" in ${took} (${took} including waiting). Image size: ${image.sizeBytes} bytes.`);
}

function failed(state: PodState, container: Container, error: Error): void {
  const event = eventOf(state, container);
  const name = container.image ?? '';
  if (!(error instanceof ImageError)) {
    state.context.log.warn('cannot look for image', { image: name, error });
    return state.hold(container.name, undefined, 2000);
  }
  switch (error.reason) {
    case 'InvalidImageName': event('Warning', 'InspectFailed', error.message); break;
    case 'ErrImageNeverPull': event('Warning', 'ErrImageNeverPull', error.message); break;
    case 'ErrImagePull': event('Warning', 'Failed', `Failed to pull image "${name}": ${error.message}`); break;
  }
  event('Warning', 'Failed', `Error: ${error.reason}`);
  const failures = (state.holds.get(container.name)?.failures ?? 0) + 1;
  const shownMs = error.reason === 'ErrImagePull' ? errorShownMs : backoffMs(failures);
  state.waiting.set(container.name, { reason: error.reason, message: error.message });
  state.holdUntil(container.name, state.context.clock.monotonic() + shownMs, failures);
}

const backoffMs = (failures: number): number => Math.min(maxBackoffMs, firstBackoffMs * 2 ** (failures - 1));

function backOff(state: PodState, container: Container, message: string): void {
  const event = eventOf(state, container);
  event('Normal', 'BackOff', `Back-off pulling image "${container.image}"`);
  event('Warning', 'Failed', 'Error: ImagePullBackOff');
  state.waiting.set(container.name, { reason: 'ImagePullBackOff', message: `Back-off pulling image "${container.image}": ErrImagePull: ${message}` });
  state.holdUntil(container.name, state.context.clock.monotonic() + backoffMs(state.holds.get(container.name)?.failures ?? 1) - errorShownMs);
}
