import { namespaces } from '../../shared/kinds/namespace.ts';
import { services } from '../../shared/kinds/service.ts';
import { keyOf } from '../../shared/meta.ts';
import { defineController, some } from './controller.ts';
import { ensure } from './ensure.ts';
import { isActive } from './serviceaccount.ts';

const namespace = 'kube-system';
const name = 'kube-dns';
const key = `${namespace}/${name}`;

/** Keeps the service kube-system/kube-dns, which tells where cluster DNS is: each node's agent serves it there itself. */
export const kubeDns = defineController({
  name: 'kube-dns',
  watches: [
    { kind: some(services), keys: (change) => (keyOf(change.object) === key ? [key] : []) },
    { kind: some(namespaces), keys: (change) => (change.name === namespace && change.type === 'ADDED' ? [key] : []) },
  ],
  initialKeys: () => [key],
  async reconcile(_key, context) {
    const { registry, settings: { clusterDNS } } = context;
    if (!clusterDNS || !isActive(namespace, context)) return;
    await ensure(registry, services, namespace, name, (current) => (current ? undefined : serviceDocument(clusterDNS)));
  },
});

/** Names, labels and ports are those that tools know the service by. It has no selector, as no pods are behind it. */
const serviceDocument = (clusterIP: string): unknown => ({
  metadata: {
    name,
    labels: { 'k8s-app': 'kube-dns', 'kubernetes.io/cluster-service': 'true', 'kubernetes.io/name': 'KubeDNS' },
    annotations: { 'kubernetes.io/description': 'Cluster DNS, which the agent of each node serves itself at this address' },
  },
  spec: {
    type: 'ClusterIP', clusterIP, sessionAffinity: 'None',
    ports: [{ name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 }, { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 }],
  },
});
