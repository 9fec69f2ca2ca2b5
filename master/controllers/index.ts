import { accountSecrets } from './account-secrets.ts';
import { clusterRoleAggregation } from './clusterrole-aggregation.ts';
import type { Controller } from './controller.ts';
import { endpointsController } from './endpoints.ts';
import { endpointSliceMirroring } from './endpointslice-mirroring.ts';
import { endpointSlice } from './endpointslice.ts';
import { eventTtl } from './event-ttl.ts';
import { ephemeralVolume } from './ephemeral-volume.ts';
import { garbageCollector } from './garbage-collector.ts';
import { kubernetesService } from './kubernetes-service.ts';
import { kubeDns } from './kube-dns.ts';
import { namespaceController } from './namespace.ts';
import { nodeLifecycle } from './node-lifecycle.ts';
import { podGc } from './pod-gc.ts';
import { replication } from './replication.ts';
import { rootCa } from './root-ca.ts';
import { serviceAccount } from './serviceaccount.ts';
import { volumeBinder } from './volume-binder.ts';
import { claimProtector, volumeProtector } from './volume-protection.ts';
import { volumeRemover } from './volume-reclaim.ts';

/** Every controller, fresh: some keep notes in memory, which are theirs for one run of the master. */
export const controllers = (): readonly Controller[] => [
  namespaceController, serviceAccount, accountSecrets, clusterRoleAggregation, rootCa, kubernetesService, kubeDns,
  replication, endpointsController, endpointSlice, endpointSliceMirroring,
  garbageCollector, nodeLifecycle(), podGc(), eventTtl(),
  volumeBinder, volumeRemover, claimProtector, volumeProtector, ephemeralVolume,
];
