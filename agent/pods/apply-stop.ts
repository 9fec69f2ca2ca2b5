import type { Container } from '../../shared/kinds/container.ts';
import { RuntimeError } from '../runtime/runtime.ts';
import { involvedPod } from './events.ts';
import type { Step } from './plan.ts';
import type { PodState } from './pod-state.ts';
import { runHook } from './check.ts';
import { sandboxOf, slots } from './view.ts';

/** How much longer than its grace a stop may take before the agent kills by itself. */
const slackMs = 5_000;
/** What is left to a container after its hook, however long that took: as the kubelet has it. */
const leastGraceSeconds = 2;

/** Begins to end a container and returns: its end shows as an event of the engine. The hook and the signal share one grace. */
export async function stop(state: PodState, step: Extract<Step, { type: 'stop' }>): Promise<void> {
  const { context, pod } = state;
  const { clock, runtime, events } = context;
  if (state.stopping.has(step.id)) return;
  const endMs = clock.monotonic() + step.graceSeconds * 1000;
  state.stopping.set(step.id, endMs + slackMs);
  if (step.replace) state.replacing.add(step.id);
  events.event(involvedPod(pod, step.container), 'Normal', 'Killing', step.why || `Stopping container ${step.container}`);
  const container = slots(pod).find((slot) => slot.container.name === step.container)?.container;
  state.start(async () => {
    try {
      if (container && step.graceSeconds > 0) await preStop(state, container, step.id, step.graceSeconds);
      const left = Math.max(Math.min(step.graceSeconds, leastGraceSeconds), Math.ceil((endMs - clock.monotonic()) / 1000));
      await runtime.stop(step.id, left);
    } catch (error) {
      context.log.warn('cannot stop container', { container: step.container, id: step.id, error });
      // Let the next plan ask again.
      if (error instanceof RuntimeError) state.stopping.delete(step.id);
      state.hold(step.id, undefined, 5000);
    }
  });
}

async function preStop(state: PodState, container: Container, id: string, graceSeconds: number): Promise<void> {
  const { context, pod } = state;
  const hook = container.lifecycle?.preStop;
  if (!hook) return;
  const graceMs = graceSeconds * 1000;
  if (hook.sleep) return new Promise((resolve) => { context.clock.after(Math.min(graceMs, hook.sleep!.seconds * 1000), resolve); });
  const ips = sandboxOf([...state.views.values()])?.ips ?? [];
  const outcome = await runHook(hook, { runtime: context.runtime, id, container, ips, timeoutMs: graceMs });
  if (outcome.warning) context.events.event(involvedPod(pod), 'Warning', 'LifecycleHTTPFallback', outcome.message);
  if (outcome.ok) return;
  context.log.warn('preStop hook failed', { pod: pod.metadata.name, container: container.name, why: outcome.message });
  context.events.event(involvedPod(pod, container.name), 'Warning', 'FailedPreStopHook', 'PreStopHook failed');
}
