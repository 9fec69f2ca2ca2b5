import type { Admission } from '../registry/types.ts';
import { defaultTolerations } from './default-tolerations.ts';
import { namespaceLifecycle } from './namespace-lifecycle.ts';
import { nodeRestriction } from './node-restriction.ts';
import type { AdmissionContext } from './plugin.ts';
import { priority } from './priority.ts';
import { rbacEscalation } from './rbac-escalation.ts';
import { runtimeClass } from './runtime-class.ts';
import { serviceAccount } from './service-account.ts';
import { claimResize, defaultStorageClass, storageProtection } from './storage.ts';
import { taintNodes } from './taint-nodes.ts';
import { unreachable } from './unreachable.ts';

/** Every admission plugin, in the order in which they are asked. */
export const admissions = (context: AdmissionContext): readonly Admission[] => [
  namespaceLifecycle(context), serviceAccount(context), nodeRestriction, ...(context.policy ? [rbacEscalation(context.policy)] : []), taintNodes, priority, unreachable, defaultTolerations, runtimeClass(context),
  storageProtection, defaultStorageClass(context), claimResize(context),
];
