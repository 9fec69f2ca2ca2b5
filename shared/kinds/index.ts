import type { Kind } from '../kind.ts';
import { bindings } from './binding.ts';
import { configMaps } from './configmap.ts';
import { endpoints } from './endpoints.ts';
import { endpointSlices } from './endpointslice.ts';
import { events } from './event.ts';
import { leases } from './lease.ts';
import { namespaces } from './namespace.ts';
import { nodes } from './node.ts';
import { persistentVolumes } from './persistentvolume.ts';
import { persistentVolumeClaims } from './persistentvolumeclaim.ts';
import { pods } from './pod.ts';
import { clusterRoleBindings, clusterRoles, roleBindings, roles } from './rbac.ts';
import { replicationControllers } from './replicationcontroller.ts';
import { runtimeClasses } from './runtimeclass.ts';
import { secrets } from './secret.ts';
import { serviceAccounts } from './serviceaccount.ts';
import { services } from './service.ts';
import { storageClasses } from './storageclass.ts';

/** Every kind that is served, in discovery order. */
export const kinds: readonly Kind[] = [
  bindings, configMaps, endpoints, events, namespaces, nodes, persistentVolumeClaims, persistentVolumes, pods,
  replicationControllers, secrets, serviceAccounts, services,
  leases,
  endpointSlices,
  runtimeClasses,
  storageClasses,
  clusterRoleBindings, clusterRoles, roleBindings, roles,
];
