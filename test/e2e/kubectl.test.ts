import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { clients, configMap, controller, list, pod, startCluster, type Cluster, type Kubectl } from './kubectl-support.ts';
import { createAuthority } from '../../master/certificates.ts';
import { until } from './lab.ts';

/** Real kubectls against a real master: every verb that people type, in every version. */
const test = suite('kubectl');
let cluster: Cluster;
test.before(async () => { cluster = await startCluster(); });
test.after(() => cluster.down());

let count = 0;
/** One test per version, each with a namespace of its own. */
function each(title: string, body: (kubectl: Kubectl) => Promise<void>): void {
  const number = count++;
  for (const name of clients) {
    test(`${name}: ${title}`, async () => body(await cluster.client(name, `${name.replace('kubectl-', 'v').replace('.', '')}-${number}`)));
  }
}

const lines = (text: string): string[] => text.trimEnd().split('\n').map((line) => line.trimEnd());
/** Columns of a table without its times. */
const cells = (text: string): string[][] => lines(text).map((line) => line.split(/\s{2,}|\s+$/).filter((cell) => !/^(?:\d+[smh])+$/.test(cell)));

each('create: one file, a folder, a List, several documents, standard input, generateName', async (k) => {
  await k.write('one.json', configMap('one', { a: '1' }));
  assert.is(await k.ok('create', '-f', 'one.json'), 'configmap/one created\n');
  await k.write('folder/a.json', configMap('folder-a', {}));
  await k.write('folder/b.yaml', 'apiVersion: v1\nkind: Secret\nmetadata: {name: folder-b}\nstringData: {k: v}\n');
  assert.equal(lines(await k.ok('create', '-f', 'folder')), ['configmap/folder-a created', 'secret/folder-b created']);
  await k.write('list.json', list(configMap('list-a', {}), { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'list-b' } }));
  assert.equal(lines(await k.ok('create', '-f', 'list.json')), ['configmap/list-a created', 'serviceaccount/list-b created']);
  await k.write('documents.yaml', 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: d1}\n---\n# nothing\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: d2}\n');
  assert.equal(lines(await k.ok('create', '-f', 'documents.yaml')), ['configmap/d1 created', 'configmap/d2 created']);
  assert.is(await k.with({ input: JSON.stringify(pod('piped')) }, 'create', '-f', '-'), 'pod/piped created\n');
  await k.write('generate.yaml', 'apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: gen-}\n');
  assert.match(await k.ok('create', '-f', 'generate.yaml'), /^configmap\/gen-[bcdfghjklmnpqrstvwxz2456789]{5} created\n$/);
  assert.is(await k.value('{.data.k}', 'secret', 'folder-b'), 'dg==');
  assert.is(await k.fails('create', '-f', 'one.json'), 'Error from server (AlreadyExists): error when creating "one.json": configmaps "one" already exists');
});

each('create: the generators', async (k) => {
  await k.write('file.txt', 'text\n');
  await k.ok('create', 'configmap', 'cm', '--from-literal=a=b', '--from-file=file.txt');
  assert.equal((await k.json('cm', 'cm'))['data'], { a: 'b', 'file.txt': 'text\n' });
  await k.ok('create', 'secret', 'generic', 'plain', '--from-literal=a=b');
  await k.ok('create', 'secret', 'docker-registry', 'pull', '--docker-server=r.test', '--docker-username=u', '--docker-password=p', '--docker-email=e@x.test');
  const { key, certificate } = await createAuthority('example', 1);
  await k.write('tls.key', key);
  await k.write('tls.crt', certificate);
  await k.ok('create', 'secret', 'tls', 'tls', '--cert=tls.crt', '--key=tls.key');
  assert.equal(cells(await k.ok('get', 'secret')), [
    ['NAME', 'TYPE', 'DATA', 'AGE'], ['plain', 'Opaque', '1'], ['pull', 'kubernetes.io/dockerconfigjson', '1'], ['tls', 'kubernetes.io/tls', '2'],
  ]);
  assert.is(await k.ok('create', 'serviceaccount', 'robot'), 'serviceaccount/robot created\n');
  assert.is(await k.ok('create', 'service', 'clusterip', 'ip', '--tcp=80:8080'), 'service/ip created\n');
  assert.is(await k.ok('create', 'service', 'clusterip', 'headless', '--clusterip=None'), 'service/headless created\n');
  assert.is(await k.ok('create', 'service', 'nodeport', 'port', '--tcp=80:8080'), 'service/port created\n');
  assert.is(await k.ok('create', 'service', 'externalname', 'name', '--external-name=example.com'), 'service/name created\n');
  const services = await k.ok('get', 'service');
  assert.match(services, /^headless\s+ClusterIP\s+None\s+<none>\s+<none>/m);
  assert.match(services, /^ip\s+ClusterIP\s+10\.96\.\d+\.\d+\s+<none>\s+80\/TCP/m);
  assert.match(services, /^name\s+ExternalName\s+<none>\s+example\.com\s+<none>/m);
  assert.match(services, /^port\s+NodePort\s+10\.96\.\d+\.\d+\s+<none>\s+80:3[0-2]\d{3}\/TCP/m);
  assert.match(await k.fails('create', 'service', 'nodeport', 'low', '--tcp=80:80', '--node-port=1000'), /Service "low" is invalid: spec\.ports\[0\]\.nodePort: Invalid value: 1000: provided port is not in the valid range\. The range of valid ports is 30000-32767$/);
});

each('run and expose', async (k) => {
  assert.is(await k.ok('run', 'once', '--image=busybox', '--restart=Never', '--port=80', '--', 'sleep', '1'), 'pod/once created\n');
  const made = await k.json<{ spec: Record<string, unknown> }>('pod', 'once');
  assert.is(made.spec['restartPolicy'], 'Never');
  assert.is(await k.value('{.spec.containers[0].args}{.spec.containers[0].imagePullPolicy}', 'pod', 'once'), '["sleep","1"]Always');
  assert.match(await k.ok('run', 'dry', '--image=busybox', '--restart=Never', '--dry-run=client', '-o', 'yaml'), /^ {2}restartPolicy: Never$/m);
  assert.match(await k.ok('run', 'dry', '--image=busybox', '--restart=Never', '--dry-run=server', '-o', 'yaml'), /^ {2}schedulerName: default-scheduler$/m);
  assert.is(await k.fails('get', 'pod', 'dry'), 'Error from server (NotFound): pods "dry" not found');
  assert.is(await k.ok('expose', 'pod', 'once'), 'service/once exposed\n');
  assert.is(await k.value('{.spec.selector}{.spec.ports[0].targetPort}', 'service', 'once'), '{"run":"once"}80');
  await k.with({ input: JSON.stringify(controller('web', 0)) }, 'create', '-f', '-');
  await k.ok('expose', 'rc', 'web', '--port=8000', '--target-port=80', '--name=exposed', '--type=NodePort');
  assert.is(await k.value('{.spec.selector.app} {.spec.type} {.spec.ports[0].port}', 'service', 'exposed'), 'web NodePort 8000');
});

each('get: every form of output', async (k) => {
  await k.with({ input: list(pod('a', { app: 'x' }), pod('b', { app: 'y' }), configMap('c', { k: 'v' })) }, 'create', '-f', '-');
  assert.equal(cells(await k.ok('get', 'pods')), [['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE'], ['a', '0/1', 'Pending', '0'], ['b', '0/1', 'Pending', '0']]);
  assert.equal(cells(await k.ok('get', 'pods', '-o', 'wide'))[0], ['NAME', 'READY', 'STATUS', 'RESTARTS', 'AGE', 'IP', 'NODE', 'NOMINATED NODE', 'READINESS GATES']);
  assert.equal(cells(await k.ok('get', 'pods', '-o', 'wide', '--no-headers'))[0], ['a', '0/1', 'Pending', '0', '<none>', '<none>', '<none>', '<none>']);
  assert.is(await k.ok('get', 'pods', '-o', 'name'), 'pod/a\npod/b\n');
  assert.match(await k.ok('get', 'pod', 'a', '-o', 'yaml'), /^apiVersion: v1\nkind: Pod\nmetadata:\n/);
  assert.equal((await k.json('cm', 'c'))['data'], { k: 'v' });
  assert.is(await k.value('{.items[*].metadata.name}', 'pods'), 'a b');
  assert.equal(cells(await k.ok('get', 'pods', '-o', 'custom-columns=N:.metadata.name,I:.spec.containers[*].image')), [['N', 'I'], ['a', 'busybox:1'], ['b', 'busybox:1']]);
  assert.is(await k.ok('get', 'pods', '-o', 'go-template={{range .items}}{{.metadata.name}};{{end}}'), 'a;b;');
  assert.equal(cells(await k.ok('get', 'pods', '--show-labels'))[1], ['a', '0/1', 'Pending', '0', 'app=x']);
  assert.equal(cells(await k.ok('get', 'pods', '-L', 'app'))[2], ['b', '0/1', 'Pending', '0', 'y']);
  assert.is(await k.ok('get', 'pods', '--sort-by={.metadata.labels.app}', '-o', 'name'), 'pod/a\npod/b\n');
  assert.is(await k.ok('get', 'pods', '-l', 'app in (y,z),!other', '-o', 'name'), 'pod/b\n');
  assert.is(await k.ok('get', 'pods', '--field-selector=metadata.name!=a,status.phase=Pending', '-o', 'name'), 'pod/b\n');
  assert.is(await k.ok('get', 'pods', '--chunk-size=1', '-o', 'name'), 'pod/a\npod/b\n');
  assert.is(await k.ok('get', 'pod/a', 'configmap/c', '-o', 'name'), 'pod/a\nconfigmap/c\n');
  assert.match(await k.ok('get', 'pods,cm'), /^NAME\s+READY.*\npod\/a .*\npod\/b .*\n\nNAME\s+DATA.*\nconfigmap\/c /);
  assert.match(await k.ok('get', 'all'), /^pod\/a /m);
  assert.is(await k.ok('get', 'pod', 'nope', '--ignore-not-found'), '');
  assert.match(await k.ok('get', 'pods', '-A', '-l', 'app=x'), new RegExp(`^NAMESPACE .*\\n(?:.*\\n)*${k.namespace} +a +0/1`));
  assert.is((await k.run(['get', 'secrets'])).stderr, `No resources found in ${k.namespace} namespace.\n`);
});

each('get: pages, raw paths and empty answers', async (k) => {
  const maps = Array.from({ length: 7 }, (_, i) => configMap(`m${i}`, {}, { of: 'page' }));
  await k.with({ input: list(...maps) }, 'create', '-f', '-');
  assert.is(lines(await k.ok('get', 'cm', '--chunk-size=2', '-l', 'of=page', '-o', 'name')).length, 7);
  const path = `/api/v1/namespaces/${k.namespace}/configmaps`;
  const page = JSON.parse(await k.ok('get', '--raw', `${path}?limit=2`)) as { metadata: { continue: string; remainingItemCount: number }; items: unknown[] };
  assert.is(page.items.length, 2);
  assert.ok(page.metadata.remainingItemCount >= 5);
  const rest = JSON.parse(await k.ok('get', '--raw', `${path}?continue=${page.metadata.continue}`)) as { items: unknown[] };
  assert.is(rest.items.length, page.metadata.remainingItemCount);
  assert.is(await k.ok('get', '--raw', '/healthz'), 'ok');
  assert.match(await k.ok('get', '--raw', '/readyz?verbose'), /readyz check passed\n$/);
  assert.is(await k.fails('get', '--raw', '/nothing'), 'Error from server (NotFound): the server could not find the requested resource');
});

each('get -w shows changes as they come', async (k) => {
  await k.with({ input: JSON.stringify(pod('a', { w: '1' })) }, 'create', '-f', '-');
  const [watching, only] = [k.start('get', 'pods', '-w', '-l', 'w=1'), k.start('get', 'pods', '--watch-only', '-o', 'name')];
  await until('the watch has begun', 15_000, async () => /^a /m.test(watching.output()));
  await new Promise((wake) => setTimeout(wake, 1500));
  await k.with({ input: JSON.stringify(pod('b', { w: '1' })) }, 'create', '-f', '-');
  await k.ok('label', 'pod', 'a', 'w-');
  await until('the changes are shown', 15_000, async () => /^b /m.test(watching.output()) && only.output().includes('pod/b'));
  assert.match(await watching.stop(), /^NAME +READY .*\na .*\nb /);
  assert.match(await only.stop(), /^pod\/b\n/);
});

each('describe', async (k) => {
  await k.with({ input: list(controller('web', 1, { A: '1' }), configMap('settings', { k: 'v' })) }, 'create', '-f', '-');
  await k.ok('create', 'secret', 'generic', 'hidden', '--from-literal=word=swordfish');
  await k.ok('expose', 'rc', 'web', '--port=80');
  await until('the controller has made its pod', 10_000, async () => (await k.ok('get', 'events')).includes('SuccessfulCreate'));
  const rc = await k.ok('describe', 'rc', 'web');
  assert.match(rc, /^Replicas: +1 current \/ 1 desired$/m);
  assert.match(rc, /^Pods Status: +0 Running \/ 1 Waiting \/ 0 Succeeded \/ 0 Failed$/m);
  assert.match(rc, /^ +A: +1$/m);
  assert.match(rc, /Normal +SuccessfulCreate +\S+ +replication-controller +Created pod: web-/);
  const described = await k.ok('describe', 'pod', '-l', 'app=web');
  assert.match(described, /^Controlled By: +ReplicationController\/web$/m);
  assert.match(described, /^QoS Class: +BestEffort$/m);
  assert.match(await k.ok('describe', 'svc', 'web'), /^Selector: +app=web$/m);
  assert.match(await k.ok('describe', 'namespace', k.namespace), /^Status: +Active$/m);
  assert.match(await k.ok('describe', 'cm', 'settings'), /^Data\n====\nk:\n----\nv\n/m);
  const secret = await k.ok('describe', 'secret', 'hidden');
  assert.match(secret, /^word: +9 bytes$/m);
  assert.not.match(secret, /swordfish/);
  assert.match(await k.ok('describe', 'sa', 'default'), /^Image pull secrets: +<none>$/m);
  assert.is(await k.fails('describe', 'pod', 'nope'), 'Error from server (NotFound): pods "nope" not found');
});

each('scale', async (k) => {
  await k.with({ input: JSON.stringify(controller('web', 2)) }, 'create', '-f', '-');
  assert.is(await k.ok('scale', 'rc', 'web', '--replicas=3'), 'replicationcontroller/web scaled\n');
  assert.is(await k.fails('scale', 'rc', 'web', '--current-replicas=7', '--replicas=4'), 'error: Expected replicas to be 7, was 3');
  await k.ok('scale', 'rc', 'web', '--current-replicas=3', '--replicas=1');
  assert.is(await k.value('{.spec.replicas} {.metadata.generation}', 'rc', 'web'), '1 3');
  await until('one pod is left', 10_000, async () => lines(await k.ok('get', 'pods', '-o', 'name')).length === 1);
  assert.is(await k.fails('scale', 'rc', 'nope', '--replicas=1'), k.name === 'kubectl-1.32' ? 'error: no objects passed to scale replicationcontrollers "nope" not found' : 'Error from server (NotFound): replicationcontrollers "nope" not found');
  const scale = JSON.parse(await k.ok('get', '--raw', `/api/v1/namespaces/${k.namespace}/replicationcontrollers/web/scale`)) as Record<string, unknown>;
  assert.equal([scale['kind'], scale['apiVersion'], scale['spec']], ['Scale', 'autoscaling/v1', { replicas: 1 }]);
});

each('label and annotate', async (k) => {
  await k.with({ input: JSON.stringify(pod('a')) }, 'create', '-f', '-');
  await k.ok('label', 'pod', 'a', 'x=y');
  assert.is(await k.fails('label', 'pod', 'a', 'x=z'), `error: 'x' already has a value (y), and --overwrite is false`);
  await k.ok('label', 'pod', 'a', 'x=z', '--overwrite');
  assert.is(await k.value('{.metadata.labels.x}', 'pod', 'a'), 'z');
  await k.ok('label', 'pod', '--all', 'x-');
  assert.is(await k.value('{.metadata.labels}', 'pod', 'a'), '');
  await k.ok('annotate', 'pod', 'a', 'note=some text');
  assert.is(await k.value('{.metadata.annotations.note}', 'pod', 'a'), 'some text');
  await k.ok('annotate', 'pod', 'a', 'note-');
  assert.is(await k.value('{.metadata.annotations}', 'pod', 'a'), '');
});

each('edit', async (k) => {
  await k.with({ input: JSON.stringify(configMap('a', { word: 'old' })) }, 'create', '-f', '-');
  assert.is(await k.with({ env: { EDITOR: 'sed -i s/old/new/' } }, 'edit', 'cm', 'a'), 'configmap/a edited\n');
  assert.is(await k.value('{.data.word}', 'cm', 'a'), 'new');
  assert.match((await k.run(['edit', 'cm', 'a'], { env: { EDITOR: 'true' } })).stderr, /Edit cancelled, no changes made\./);
  const { code, stderr } = await k.run(['edit', 'cm', 'a'], { env: { EDITOR: "sed -i 's/^  name: a$/  name: b/'" } });
  assert.is(code, 1);
  assert.match(stderr, /At least one of apiVersion, kind and name was changed/);
});

each('patch', async (k) => {
  await k.with({ input: list(configMap('a', { a: '1' }), controller('web', 0, { A: '1', B: '2' })) }, 'create', '-f', '-');
  assert.is(await k.ok('patch', 'cm', 'a', '-p', '{"data":{"b":"2"}}'), 'configmap/a patched\n');
  await k.ok('patch', 'cm', 'a', '--type=merge', '-p', '{"data":{"a":null}}');
  await k.ok('patch', 'cm', 'a', '--type=json', '-p', '[{"op":"test","path":"/data/b","value":"2"},{"op":"add","path":"/data/c","value":"3"}]');
  assert.equal((await k.json('cm', 'a'))['data'], { b: '2', c: '3' });
  assert.is(await k.ok('patch', 'cm', 'a', '-p', '{"data":{"b":"2"}}'), 'configmap/a patched (no change)\n');
  await k.ok('patch', 'rc', 'web', '-p', '{"spec":{"template":{"spec":{"containers":[{"name":"main","env":[{"name":"A","$patch":"delete"},{"name":"C","value":"3"}]}]}}}}');
  assert.is(await k.value('{.spec.template.spec.containers[0].env[*].name}', 'rc', 'web'), 'C B');
  if (k.old) return;
  await k.with({ input: JSON.stringify(pod('p')) }, 'create', '-f', '-');
  await k.ok('patch', 'pod', 'p', '--subresource=status', '--type=merge', '-p', '{"status":{"phase":"Running"},"spec":{"nodeName":"ignored"}}');
  assert.is(await k.value('{.status.phase}{.spec.nodeName}', 'pod', 'p'), 'Running');
  assert.equal(cells(await k.ok('get', 'pod', 'p', '--subresource=status'))[1], ['p', '0/1', 'Running', '0']);
});

each('replace and diff', async (k) => {
  await k.write('a.json', configMap('a', { a: '1' }));
  await k.ok('create', '-f', 'a.json');
  await k.write('a.json', configMap('a', { a: '2' }));
  const { code, stdout } = await k.run(['diff', '-f', 'a.json']);
  assert.is(code, 1);
  assert.match(stdout, /^-\s+a: "1"\n\+\s+a: "2"$/m);
  assert.is(await k.ok('replace', '-f', 'a.json'), 'configmap/a replaced\n');
  assert.is((await k.run(['diff', '-f', 'a.json'])).code, 0);
  const before = await k.value('{.metadata.uid}', 'cm', 'a');
  assert.match(await k.ok('replace', '--force', '-f', 'a.json'), /configmap "a" deleted.*\nconfigmap\/a replaced\n$/);
  assert.not.equal(await k.value('{.metadata.uid}', 'cm', 'a'), before);
  await k.write('b.json', configMap('b', {}));
  assert.is(await k.fails('replace', '-f', 'b.json'), 'Error from server (NotFound): error when replacing "b.json": configmaps "b" not found');
});

each('delete', async (k) => {
  const made = [pod('a', { app: 'x' }), pod('b', { app: 'x' }), configMap('c', {}), configMap('d', {})];
  await k.write('all.json', list(...made));
  await k.ok('create', '-f', 'all.json');
  assert.match(await k.ok('delete', 'pod', 'a'), /^pod "a" deleted/);
  assert.match(await k.ok('delete', 'pods', '-l', 'app=x', '--grace-period=0', '--force'), /^pod "b" force deleted/);
  assert.match(await k.ok('delete', 'cm', 'c', '--wait=false'), /^configmap "c" deleted/);
  assert.match(await k.ok('delete', '-f', 'all.json', '--ignore-not-found'), /^configmap "d" deleted/);
  assert.is(await k.fails('delete', 'pod', 'a'), 'Error from server (NotFound): pods "a" not found');
  await k.ok('delete', 'cm', '--all');
  await until('the certificate of the cluster is back', 10_000, async () => (await k.ok('get', 'cm', '-o', 'name')) === 'configmap/kube-root-ca.crt\n');
});

each('delete: what becomes of dependents', async (k) => {
  const pods = async (): Promise<string[]> => lines(await k.ok('get', 'pods', '-l', 'app=web', '-o', 'name')).filter(Boolean);
  const again = async (): Promise<void> => {
    await k.with({ input: JSON.stringify(controller('web', 2)) }, 'create', '-f', '-');
    await until('there are two pods', 10_000, async () => (await pods()).length === 2);
  };
  await again();
  await k.ok('delete', 'rc', 'web', '--cascade=orphan', '--timeout=20s');
  assert.is((await pods()).length, 2);
  await again();
  await k.ok('delete', 'rc', 'web', '--timeout=20s');
  await until('the pods follow in the background', 15_000, async () => (await pods()).length === 0);
  await again();
  await k.ok('delete', 'rc', 'web', '--cascade=foreground', '--timeout=20s');
  assert.equal(await pods(), []);
});

each('delete: a namespace with all that is in it', async (k) => {
  await k.with({ input: JSON.stringify(controller('web', 2)) }, 'create', '-f', '-');
  assert.match(await k.ok('delete', 'namespace', k.namespace, '--timeout=30s'), new RegExp(`^namespace "${k.namespace}" deleted`));
  assert.is(await k.fails('get', 'namespace', k.namespace), `Error from server (NotFound): namespaces "${k.namespace}" not found`);
  assert.is(await k.fails('delete', 'namespace', 'default'), 'Error from server (Forbidden): namespaces "default" is forbidden: this namespace may not be deleted');
});

each('wait', async (k) => {
  await k.with({ input: JSON.stringify(pod('a')) }, 'create', '-f', '-');
  assert.match(await k.fails('wait', '--for=condition=Ready', 'pod/a', '--timeout=1s'), /timed out waiting for the condition on pods\/a$/);
  const path = `/api/v1/namespaces/${k.namespace}/pods/a/status`;
  const object = await k.json<{ status: Record<string, unknown> }>('pod', 'a');
  object.status = { ...object.status, phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
  await k.write('status.json', object);
  await k.ok('replace', '--raw', path, '-f', 'status.json');
  assert.is(await k.ok('wait', '--for=condition=Ready', 'pod/a', '--timeout=10s'), 'pod/a condition met\n');
  if (!k.old) assert.is(await k.ok('wait', "--for=jsonpath={.status.phase}=Running", 'pod/a', '--timeout=10s'), 'pod/a condition met\n');
  const waiting = k.start('wait', '--for=delete', 'pod/a', '--timeout=20s');
  await new Promise((wake) => setTimeout(wake, 2000));
  await k.ok('delete', 'pod', 'a', '--wait=false');
  await until('the wait is over', 15_000, async () => waiting.output() === 'pod/a condition met\n');
  await waiting.stop();
  if (k.name !== 'kubectl-newest') return;
  const created = k.ok('wait', '--for=create', 'cm/later', '--timeout=20s');
  await k.ok('create', 'configmap', 'later');
  assert.is(await created, 'configmap/later condition met\n');
});

each('set', async (k) => {
  await k.with({ input: JSON.stringify(controller('web', 0, { A: '1' })) }, 'create', '-f', '-');
  assert.is(await k.ok('set', 'image', 'rc/web', 'main=busybox:2'), 'replicationcontroller/web image updated\n');
  assert.is(await k.ok('set', 'env', 'rc/web', 'B=2', 'A-'), 'replicationcontroller/web env updated\n');
  assert.equal(lines(await k.ok('set', 'env', 'rc/web', '--list')), ['# ReplicationController web, container main', 'B=2']);
  await k.ok('set', 'resources', 'rc/web', '--limits=cpu=200m,memory=64Mi');
  assert.is(await k.value('{.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].resources.limits.cpu}', 'rc', 'web'), 'busybox:2 200m');
});

each('nodes: taint, cordon, drain', async (k) => {
  const node = `node-${k.namespace}`;
  await k.with({ input: JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: node } }) }, 'create', '-f', '-');
  assert.is(await k.ok('taint', 'node', node, 'a=b:NoSchedule'), `node/${node} tainted\n`);
  assert.match(await k.value('{.spec.taints[?(@.key=="a")]}', 'node', node), /"effect":"NoSchedule".*"value":"b"|"value":"b"/);
  assert.is(await k.ok('taint', 'node', node, 'a:NoSchedule-'), `node/${node} untainted\n`);
  assert.is(await k.ok('cordon', node), `node/${node} cordoned\n`);
  assert.match(await k.ok('get', 'node', node), /SchedulingDisabled/);
  assert.is(await k.ok('uncordon', node), `node/${node} uncordoned\n`);
  const bound = pod('guest') as { spec: Record<string, unknown> };
  bound.spec = { ...bound.spec, nodeName: node, terminationGracePeriodSeconds: 0, tolerations: [{ operator: 'Exists' }] };
  await k.with({ input: JSON.stringify(bound) }, 'create', '-f', '-');
  assert.match(await k.ok('describe', 'node', node), /^Unschedulable: +false$/m);
  const drained = await k.ok('drain', node, '--force', '--ignore-daemonsets', '--timeout=30s');
  assert.match(drained, new RegExp(`^node/${node} cordoned$`, 'm'));
  assert.match(drained, new RegExp(`^node/${node} (?:drained|evicted)$`, 'm'));
  assert.is(await k.fails('get', 'pod', 'guest'), 'Error from server (NotFound): pods "guest" not found');
  assert.is(await k.ok('delete', 'node', node), `node "${node}" deleted\n`);
});

each('explain', async (k) => {
  const shown = await k.ok('explain', 'pod.spec.containers.livenessProbe.httpGet');
  for (const field of ['host', 'httpHeaders', 'path', 'port', 'scheme']) assert.match(shown, new RegExp(`^\\s+${field}\\t<`, 'm'));
  assert.match(shown, k.old ? /^KIND: {5}Pod\nVERSION: {2}v1\n\nRESOURCE: httpGet <Object>/ : /^KIND: {7}Pod\nVERSION: {4}v1\n\nFIELD: httpGet <HTTPGetAction>/);
  assert.match(shown, k.old ? /port\t<string> -required-/ : /port\t<IntOrString> -required-/);
  const all = await k.ok('explain', 'rc', '--recursive');
  for (const field of ['replicas', 'selector', 'containers', 'terminationGracePeriodSeconds', 'configMapKeyRef', 'ownerReferences', 'readyReplicas']) assert.match(all, new RegExp(`^\\s+${field}\\t<`, 'm'));
  assert.match(await k.ok('explain', 'svc.spec.ports.targetPort'), /Number or name of the pods' port/);
  assert.match(await k.ok('explain', 'leases', '--api-version=coordination.k8s.io/v1'), /coordination\.k8s\.io/);
  assert.match(await k.fails('explain', 'pod.spec.nope'), /error: field "nope" does not exist$/);
  assert.is(await k.fails('explain', 'nope'), `the server doesn't have a resource type "nope"`);
});

each('api-resources, api-versions, cluster-info, version, config', async (k) => {
  const wide = await k.ok('api-resources', '-o', 'wide');
  assert.match(wide, /^pods +po +v1 +true +Pod +\[?create[, ]delete[, ]deletecollection[, ]get[, ]list[, ]patch[, ]update[, ]watch\]?( +all)?$/m);
  assert.match(await k.ok('api-resources', '--api-group=discovery.k8s.io'), /^endpointslices +discovery\.k8s\.io\/v1 +true +EndpointSlice$/m);
  const clusterWide = await k.ok('api-resources', '--namespaced=false', '-o', 'name');
  assert.ok(lines(clusterWide).includes('nodes') && !lines(clusterWide).includes('pods'));
  assert.ok(lines(await k.ok('api-versions')).includes('v1'));
  assert.match(await k.ok('cluster-info'), /is running at .*https:\/\/127\.0\.0\.1:/);
  assert.match(await k.ok('version'), /Server Version: .*v1\.32\./);
  assert.match(await k.ok('config', 'view'), /^current-context: /m);
});

each('auth and events', async (k) => {
  assert.is(await k.ok('auth', 'can-i', 'create', 'pods'), 'yes\n');
  assert.is((await k.run(['auth', 'can-i', 'create', 'pods', '--as=nobody'])).stdout, 'no\n');
  assert.match(await k.fails('get', 'pods', '--as=nobody'), new RegExp(`^Error from server \\(Forbidden\\): pods is forbidden: User "nobody" cannot list resource "pods" in API group "" in the namespace "${k.namespace}"$`));
  assert.match(await k.ok('auth', 'can-i', '--list'), /^\*\.\* /m);
  if (k.old) return;
  assert.match(await k.ok('auth', 'whoami'), /^Username +kubernetes-admin$/m);
  await k.with({ input: JSON.stringify(controller('web', 1)) }, 'create', '-f', '-');
  await until('there is an event', 10_000, async () => (await k.ok('events')).includes('SuccessfulCreate'));
  assert.match(await k.ok('events', '--for=rc/web'), /Normal +SuccessfulCreate +ReplicationController\/web +Created pod: web-/);
  assert.match(await k.ok('get', 'events', '--field-selector=involvedObject.name=web'), /replicationcontroller\/web/);
});

test.run();
