import type { ContainerStatus } from '../../shared/kinds/container.ts';
import type { Pod } from '../../shared/kinds/pod.ts';
import type { PodCondition, PodPhase } from '../../shared/kinds/pod-status.ts';
import { toTime } from '../../shared/time.ts';

export interface ConditionsInput {
  readonly pod: Pod;
  readonly phase: PodPhase;
  readonly sandboxUp: boolean;
  readonly initStatuses: readonly ContainerStatus[];
  readonly appStatuses: readonly ContainerStatus[];
  /** Last reported. */
  readonly previous: readonly PodCondition[];
  readonly now: number;
  /** Why the node evicted it, if it did. */
  readonly disruption?: string | undefined;
}

type Fact = Pick<PodCondition, 'type' | 'status' | 'reason' | 'message'>;

const own = new Set(['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled']);

/** The kubelet's five conditions, and after them those that others set. A transition time changes only with the status. */
export function conditionsOf(input: ConditionsInput): PodCondition[] {
  const containersReady = containersReadyOf(input);
  const facts: Fact[] = [
    { type: 'PodReadyToStartContainers', status: input.sandboxUp ? 'True' : 'False' },
    initializedOf(input), readyOf(input, containersReady), containersReady,
    { type: 'PodScheduled', status: 'True' },
  ];
  const before = new Map(input.previous.map((condition) => [condition.type, condition]));
  const disruption = disruptionOf(input, before.get(disruptionTarget));
  const others = [...(input.pod.status?.conditions ?? [])]
    .filter((condition) => !own.has(condition.type ?? '') && (!disruption || condition.type !== disruptionTarget));
  return [...facts.map((fact) => dated(fact, before.get(fact.type), input.now)), ...(disruption ? [disruption] : []), ...others];
}

const disruptionTarget = 'DisruptionTarget';

/** That this node evicted the pod, now or before: nobody takes that back. */
function disruptionOf({ disruption, now }: ConditionsInput, before: PodCondition | undefined): PodCondition | undefined {
  if (before?.reason === 'TerminationByKubelet') return before;
  return disruption === undefined ? undefined : { type: disruptionTarget, status: 'True', reason: 'TerminationByKubelet', message: disruption, lastTransitionTime: toTime(now) };
}

function dated(fact: Fact, before: PodCondition | undefined, now: number): PodCondition {
  const same = before?.status === fact.status && before.lastTransitionTime !== undefined;
  return { ...fact, lastTransitionTime: same ? before.lastTransitionTime! : toTime(now) };
}

function initializedOf({ initStatuses, appStatuses, phase, pod }: ConditionsInput): Fact {
  const sidecars = new Set((pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === 'Always').map((c) => c.name));
  const appsBegun = appStatuses.some((status) => status.state?.running || status.state?.terminated || status.lastState?.terminated);
  const incomplete = initStatuses.filter((status) => (sidecars.has(status.name ?? '') ? !status.started : !status.ready)).map((status) => status.name);
  if (phase === 'Succeeded') return { type: 'Initialized', status: 'True', reason: 'PodCompleted' };
  if (appsBegun || incomplete.length === 0) return { type: 'Initialized', status: 'True' };
  return { type: 'Initialized', status: 'False', reason: 'ContainersNotInitialized', message: `containers with incomplete status: [${incomplete.join(' ')}]` };
}

function containersReadyOf({ appStatuses, initStatuses, pod, phase }: ConditionsInput): Fact {
  const type = 'ContainersReady';
  if (phase === 'Succeeded') return { type, status: 'False', reason: 'PodCompleted' };
  if (phase === 'Failed') return { type, status: 'False', reason: 'PodFailed' };
  const sidecars = new Set((pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === 'Always').map((c) => c.name));
  const statuses = [...initStatuses.filter((status) => sidecars.has(status.name ?? '')), ...appStatuses];
  const unready = statuses.filter((status) => !status.ready).map((status) => status.name);
  if (unready.length === 0) return { type, status: 'True' };
  return { type, status: 'False', reason: 'ContainersNotReady', message: `containers with unready status: [${unready.join(' ')}]` };
}

function readyOf({ pod }: ConditionsInput, containersReady: Fact): Fact {
  if (containersReady.status !== 'True') return { ...containersReady, type: 'Ready' };
  const messages = (pod.spec.readinessGates ?? []).flatMap(({ conditionType }) => {
    const found = pod.status?.conditions?.find(({ type }) => type === conditionType);
    if (!found) return [`corresponding condition of pod readiness gate "${conditionType}" does not exist.`];
    return found.status === 'True' ? [] : [`the status of pod readiness gate "${conditionType}" is not "True", but ${found.status}`];
  });
  if (messages.length === 0) return { type: 'Ready', status: 'True' };
  return { type: 'Ready', status: 'False', reason: 'ReadinessGatesNotReady', message: messages.join(', ') };
}
