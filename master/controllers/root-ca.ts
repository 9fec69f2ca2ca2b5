import { isDeepStrictEqual } from 'node:util';
import { configMaps } from '../../shared/kinds/configmap.ts';
import { namespaces } from '../../shared/kinds/namespace.ts';
import { defineController, some } from './controller.ts';
import { ensure } from './ensure.ts';
import { isActive } from './serviceaccount.ts';

const name = 'kube-root-ca.crt';
const annotations = {
  'kubernetes.io/description': 'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints '
    + 'such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.',
};

/** Publishes the certificate of the API's authority in every namespace. */
export const rootCa = defineController({
  name: 'root-ca', for: some(namespaces),
  watches: [{ kind: some(configMaps), keys: (change) => (change.name === name ? [change.namespace] : []) }],
  async reconcile(namespace, context) {
    if (!context.settings.caCertificate || !isActive(namespace, context)) return;
    const data = { 'ca.crt': context.settings.caCertificate };
    await ensure(context.registry, configMaps, namespace, name, (current) => {
      if (current && isDeepStrictEqual(current.data, data)) return undefined;
      return { ...current, metadata: { ...(current?.metadata ?? { name }), annotations: { ...current?.metadata.annotations, ...annotations } }, data };
    });
  },
});
