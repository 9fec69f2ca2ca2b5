import type { Kind } from '../kind.ts';
import type { KubeObject } from '../meta.ts';
import { bindings } from './binding.ts';
import { configMaps } from './configmap.ts';
import { endpoints } from './endpoints.ts';
import { endpointSlices } from './endpointslice.ts';
import { events } from './event.ts';
import { eventsV1 } from './event-v1.ts';
import { leases } from './lease.ts';
import { namespaces } from './namespace.ts';
import { nodes } from './node.ts';
import { pods } from './pod.ts';
import { replicationControllers } from './replicationcontroller.ts';
import { secrets } from './secret.ts';
import { serviceAccounts } from './serviceaccount.ts';
import { services } from './service.ts';

/** Forgets the object type; the registry only hands a kind's hooks objects of that kind. */
const some = <T extends KubeObject>(kind: Kind<T>): Kind => kind as unknown as Kind;

/** Every kind that is served, in discovery order. */
export const kinds: readonly Kind[] = [
  some(bindings), some(configMaps), some(endpoints), some(events), some(namespaces), some(nodes), some(pods),
  some(replicationControllers), some(secrets), some(serviceAccounts), some(services),
  some(leases),
  some(endpointSlices),
  some(eventsV1),
];
