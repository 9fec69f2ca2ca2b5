import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { clients, configMap, controller, pod, startCluster, type Cluster, type Kubectl } from './kubectl-support.ts';

/** What real kubectls of every version print when something is wrong, word for word. */
const test = suite('kubectl errors');
let cluster: Cluster;
test.before(async () => { cluster = await startCluster(); });
test.after(() => cluster.down());

let count = 0;
function each(title: string, body: (kubectl: Kubectl) => Promise<void>): void {
  const number = count++;
  for (const name of clients) {
    test(`${name}: ${title}`, async () => body(await cluster.client(name, `${name.replace('kubectl-', 'v').replace('.', '')}-${number}`)));
  }
}

each('what is not there', async (k) => {
  assert.is(await k.fails('get', 'pod', 'a'), 'Error from server (NotFound): pods "a" not found');
  assert.is(await k.fails('get', 'lease', 'a'), 'Error from server (NotFound): leases.coordination.k8s.io "a" not found');
  assert.is(await k.fails('get', 'things'), `error: the server doesn't have a resource type "things"`);
  assert.is(await k.fails('delete', 'pod', 'a'), 'Error from server (NotFound): pods "a" not found');
  assert.is(await k.fails('label', 'pod', 'a', 'x=y'), 'Error from server (NotFound): pods "a" not found');
  assert.is(await k.fails('get', 'pods,things'), `error: the server doesn't have a resource type "things"`);
  await k.write('map.json', configMap('a', {}));
  assert.is(await k.fails('create', '-f', 'map.json', '--namespace=nowhere'), 'Error from server (NotFound): error when creating "map.json": namespaces "nowhere" not found');
  assert.is((await k.run(['get', 'pods', '--namespace=nowhere'])).stderr, 'No resources found in nowhere namespace.\n');
});

each('selectors', async (k) => {
  const head = 'Error from server (BadRequest): Unable to find "/v1, Resource=pods" that match label selector';
  assert.is(await k.fails('get', 'pods', '-l', 'a b'), `${head} "a b", field selector "": unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt`);
  assert.is(await k.fails('get', 'pods', '-l', 'a in (x'), `${head} "a in (x", field selector "": unable to parse requirement: found '', expected: ',' or ')'`);
  assert.is(await k.fails('get', 'pods', '--field-selector=spec.colour=red'), `${head} "", field selector "spec.colour=red": field label not supported: spec.colour`);
  assert.is(await k.fails('get', 'cm', '--field-selector=data=x'), 'Error from server (BadRequest): Unable to find "/v1, Resource=configmaps" that match label selector "", field selector "data=x": "data" is not a known field selector: only "metadata.name", "metadata.namespace"');
  assert.is(await k.fails('get', 'pods', '--field-selector=spec'), `${head} "", field selector "spec": invalid selector: 'spec'; can't understand 'spec'`);
});

each('invalid objects', async (k) => {
  const bad = (name: string, document: unknown): Promise<string> => k.write(`${name}.json`, document);
  await bad('none', { ...pod('none'), spec: { containers: [] } });
  assert.is(await k.fails('create', '-f', 'none.json'), 'The Pod "none" is invalid: spec.containers: Required value');
  await bad('spec', { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'spec' } });
  assert.is(await k.fails('create', '-f', 'spec.json'), 'The Pod "spec" is invalid: spec.containers: Required value');
  await bad('many', { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'many', labels: { 'a b': 'c' } }, spec: { containers: [{ name: 'X', image: 'x' }, { name: 'y', image: 'x', volumeMounts: [{ name: 'v', mountPath: '/v' }] }] } });
  assert.is(await k.fails('create', '-f', 'many.json'), [
    'The Pod "many" is invalid: ',
    `* metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
    `* spec.containers[0].name: Invalid value: "X": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
    '* spec.containers[1].volumeMounts[0].name: Not found: "v"',
  ].join('\n'));
  await bad('rc', { ...controller('rc', -1), spec: { replicas: -1, selector: { a: 'b' }, template: { metadata: { labels: { a: 'c' } }, spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'x' }] } } } });
  assert.is(await k.fails('create', '-f', 'rc.json'), [
    'The ReplicationController "rc" is invalid: ',
    '* spec.replicas: Invalid value: -1: must be greater than or equal to 0',
    '* spec.template.metadata.labels: Invalid value: {"a":"c"}: `selector` does not match template `labels`',
    '* spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
  ].join('\n'));
  assert.is(await k.fails('create', 'namespace', 'Bad'), `The Namespace "Bad" is invalid: metadata.name: Invalid value: "Bad": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`);
  await bad('limits', { ...pod('limits'), spec: { containers: [{ name: 'c', image: 'x', resources: { requests: { cpu: 2 }, limits: { cpu: 1 } } }] } });
  assert.is(await k.fails('create', '-f', 'limits.json'), 'The Pod "limits" is invalid: spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1');
});

each('changes that may not be', async (k) => {
  await k.with({ input: JSON.stringify(pod('a')) }, 'create', '-f', '-');
  assert.match(await k.fails('patch', 'pod', 'a', '--type=merge', '-p', '{"spec":{"hostNetwork":true}}'), /^The Pod "a" is invalid: spec: Forbidden: pod updates may not change fields other than `spec\.containers\[\*\]\.image`,`spec\.initContainers\[\*\]\.image`,`spec\.activeDeadlineSeconds`,`spec\.tolerations` \(only additions to existing tolerations\),`spec\.terminationGracePeriodSeconds` \(allow it to be set to 1 if it was previously negative\)/);
  await k.write('again.json', pod('a'));
  assert.match(await k.fails('replace', '-f', 'again.json'), /^The Pod "a" is invalid: spec: Forbidden: pod updates may not change/);
  await k.write('map.json', { ...configMap('m', { a: '1' }), immutable: true });
  await k.ok('create', '-f', 'map.json');
  assert.is(await k.fails('patch', 'cm', 'm', '-p', '{"data":{"a":"2"}}'), 'The ConfigMap "m" is invalid: data: Forbidden: field is immutable when `immutable` is set');
  assert.is(await k.fails('patch', 'cm', 'm', '-p', '{"metadata":{"resourceVersion":"1"}}'), 'Error from server (Conflict): Operation cannot be fulfilled on configmaps "m": the object has been modified; please apply your changes to the latest version and try again');
  assert.is(await k.fails('patch', 'cm', 'm', '--type=merge', '-p', '{"metadata":{"name":"n"}}'), 'Error from server (BadRequest): the name of the object (n) does not match the name on the URL (m)');
  await k.write('stale.json', { ...configMap('m', {}), metadata: { name: 'm', resourceVersion: '1' } });
  assert.is(await k.fails('replace', '-f', 'stale.json'), 'Error from server (Conflict): error when replacing "stale.json": Operation cannot be fulfilled on configmaps "m": the object has been modified; please apply your changes to the latest version and try again');
});

each('patches that do not fit', async (k) => {
  await k.with({ input: JSON.stringify(configMap('m', { a: '1' })) }, 'create', '-f', '-');
  await k.with({ input: JSON.stringify(controller('web', 0)) }, 'create', '-f', '-');
  const patch = (...args: string[]): Promise<string> => k.fails('patch', ...args);
  const unfit = k.old ? 'The request is invalid' : 'The request is invalid: the server rejected our request due to an error in our request';
  assert.is(await patch('cm', 'm', '--type=json', '-p', '[{"op":"remove","path":"/data/b"}]'), unfit);
  assert.is(await patch('cm', 'm', '--type=json', '-p', '[{"op":"test","path":"/data/a","value":"2"}]'), unfit);
  assert.is(await patch('cm', 'm', '--type=json', '-p', '{"op":"add"}'), 'Error from server (BadRequest): json: cannot unmarshal object into Go value of type jsonpatch.Patch');
  assert.is(await patch('rc', 'web', '-p', '{"spec":{"template":{"spec":{"containers":[{"image":"x"}]}}}}'), 'Error from server: map: map[image:x] does not contain declared merge key: name');
  assert.match(await patch('cm', 'm', '-p', '{"data":{"a":1}}'), /^The request is invalid: patch: Invalid value: "map\[data:map\[a:1\]\]": /);
  assert.match(await patch('cm', 'm', '--type=merge', '-p', '{"data":{"a":1}}'), /^The request is invalid: patch: Invalid value: ".*\\"data\\":\{\\"a\\":1\}.*": json: cannot unmarshal number into Go struct field ConfigMap\.data/);
});

each('documents that cannot be read', async (k) => {
  await k.write('unknown.json', { ...configMap('u', {}), colour: 'red', data: {} });
  const strict = 'strict decoding error: unknown field "colour"';
  const unknown = await k.fails('create', '-f', 'unknown.json');
  assert.is(unknown, k.old
    ? 'error: error validating "unknown.json": error validating data: ValidationError(ConfigMap): unknown field "colour" in io.k8s.api.core.v1.ConfigMap; if you choose to ignore these errors, turn validation off with --validate=false'
    : `Error from server (BadRequest): error when creating "unknown.json": ConfigMap in version "v1" cannot be handled as a ConfigMap: ${strict}`);
  if (!k.old) {
    const { stdout, stderr } = await k.run(['create', '-f', 'unknown.json', '--validate=warn']);
    assert.equal([stdout, stderr], ['configmap/u created\n', 'Warning: unknown field "colour"\n']);
    assert.is(await k.ok('replace', '-f', 'unknown.json', '--validate=ignore'), 'configmap/u replaced\n');
    assert.is(await k.fails('apply', '--server-side', '-f', 'unknown.json'), `Error from server: failed to create typed patch object (${k.namespace}/u; /v1, Kind=ConfigMap): .colour: field not declared in schema`);
  }
  await k.write('type.json', { ...pod('t'), spec: { containers: [{ name: 'c', image: 5, ports: [{ containerPort: 'x' }] }] } });
  assert.is(await k.fails('create', '-f', 'type.json', '--validate=false'), 'Error from server (BadRequest): error when creating "type.json": Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string');
  if (k.old) assert.match(await k.fails('create', '-f', 'type.json'), /ValidationError\(Pod\.spec\.containers\[0\]\.ports\[0\]\.containerPort\): invalid type for io\.k8s\.api\.core\.v1\.ContainerPort\.containerPort: got "string", expected "integer"/);
  await k.write('version.json', { ...configMap('v', {}), apiVersion: 'v9' });
  assert.match(await k.fails('create', '-f', 'version.json'), /no matches for kind "ConfigMap" in version "v9"/);
  await k.write('kind.json', { ...configMap('v', {}), kind: 'Thing' });
  assert.match(await k.fails('create', '-f', 'kind.json', '--validate=false'), /no matches for kind "Thing" in version "v1"/);
  await k.write('other.json', pod('o'));
  assert.match(await k.fails('replace', '--raw', `/api/v1/namespaces/${k.namespace}/configmaps/o`, '-f', 'other.json'), /^Error from server \(BadRequest\): .*Pod in version "v1" cannot be handled as a ConfigMap/);
  await k.write('broken.json', '{"kind":');
  assert.match(await k.fails('create', '--raw', `/api/v1/namespaces/${k.namespace}/configmaps`, '-f', 'broken.json'), /^Error from server \(BadRequest\): .*(?:json parse error|unexpected end of JSON input)/);
});

each('what this server does not have', async (k) => {
  await k.with({ input: JSON.stringify(pod('a')) }, 'create', '-f', '-');
  assert.is(await k.fails('get', 'deployments'), `error: the server doesn't have a resource type "deployments"`);
  assert.match(await k.fails('create', 'quota', 'q'), /the server could not find the requested resource$/);
  assert.match(await k.fails('get', 'ingresses'), /the server doesn't have a resource type "ingresses"/);
  assert.match(await k.fails('rollout', 'status', 'rc/a'), /not found|no status viewer/);
});

test.run();
