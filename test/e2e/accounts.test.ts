import { existsSync } from 'node:fs';
import { readlink, realpath, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildBusybox, createLab, until, type Lab } from './lab.ts';

/** Pods that call the API: with their mounted token, by the service's address and its name, through their node's agent; two hosts. */
const test = suite('service accounts');
const image = 'wherry-test/busybox:1';
const root = process.cwd();
const mounted = '/var/run/secrets/kubernetes.io/serviceaccount';
let lab: Lab;

/** A pod on a host that runs a program with this machine's own node, and its libraries and packages from the host. */
async function podWithNode(name: string, host: number, program: string, spec: object = {}): Promise<string> {
  const paths = [...new Set(['/usr', '/lib', '/lib64', dirname(dirname(await realpath(process.execPath))), root])].filter((path) => existsSync(path));
  const volumes = paths.map((path, index) => ({ name: `host-${index}`, hostPath: { path } }));
  return JSON.stringify({
    apiVersion: 'v1', kind: 'Pod', metadata: { name },
    spec: {
      nodeName: `node${host}`, serviceAccountName: 'reader', terminationGracePeriodSeconds: 0, restartPolicy: 'Never', volumes,
      containers: [{
        name: 'c', image, imagePullPolicy: 'Never', workingDir: root, command: [await realpath(process.execPath), '--input-type=module', '-e', program],
        volumeMounts: volumes.map(({ name: volume, hostPath: { path } }) => ({ name: volume, mountPath: path, readOnly: true })),
      }],
      ...spec,
    },
  });
}

/** Lists pods, asks who it is, and is refused what it may not. The last line is what came of it. */
const inCluster = `
  import { AuthenticationV1Api, CoreV1Api, KubeConfig } from '@kubernetes/client-node';
  const config = new KubeConfig();
  config.loadFromCluster();
  const core = config.makeApiClient(CoreV1Api);
  const { items } = await core.listNamespacedPod({ namespace: 'default' });
  const refused = await core.listNamespacedSecret({ namespace: 'default' }).then(() => 'allowed', (error) => JSON.parse(error.body).message);
  const { status } = await config.makeApiClient(AuthenticationV1Api).createSelfSubjectReview({ body: {} });
  const byName = new KubeConfig();
  byName.loadFromOptions({ ...config, clusters: [{ ...config.getCurrentCluster(), server: 'https://kubernetes.default.svc' }], users: config.users, contexts: config.contexts, currentContext: config.currentContext });
  const named = await byName.makeApiClient(CoreV1Api).listNamespacedPod({ namespace: 'default' }).then((list) => list.items.length, (error) => String(error.cause ?? error));
  console.log(JSON.stringify({ named, server: config.getCurrentCluster().server, pods: items.map(({ metadata }) => metadata.name), refused, user: status.userInfo }));
`;

/** The code that the API answers to a bearer, asked from the data centre. */
const codeOf = async (token: string, path = '/api/v1/namespaces/default/pods'): Promise<number> => {
  const program = `fetch('https://10.99.0.254:6443${path}', { headers: { authorization: 'Bearer ' + process.argv[1] } }).then((answer) => console.log(answer.status))`;
  return Number(await lab.on(0, 'env', 'NODE_TLS_REJECT_UNAUTHORIZED=0', 'NODE_NO_WARNINGS=1', process.execPath, '-e', program, token));
};

const sleeper = (name: string, host: number, spec: object = {}): string => JSON.stringify({
  apiVersion: 'v1', kind: 'Pod', metadata: { name },
  spec: { nodeName: `node${host}`, serviceAccountName: 'reader', terminationGracePeriodSeconds: 0, containers: [{ name: 'c', image, imagePullPolicy: 'Never', command: ['sleep', '100000'] }], ...spec },
});
const ready = (name: string): Promise<string> => lab.kubectl('wait', '--for=condition=Ready', '--timeout=120s', `pod/${name}`);

test.before(async () => {
  await buildBusybox();
  lab = await createLab({ hosts: 2, name: 'acct', images: [image] });
  await lab.kubectl('create', 'serviceaccount', 'reader');
  await lab.kubectl('create', 'role', 'pod-reader', '--verb=get,list,watch', '--resource=pods');
  await lab.kubectl('create', 'rolebinding', 'readers', '--role=pod-reader', '--serviceaccount=default:reader');
});
test.after(async () => { await lab?.down(); });

test('a client in a pod reaches the API from every node with what is mounted', async () => {
  for (const host of [1, 2]) {
    const name = `client-${host}`;
    await lab.kubectlWith(await podWithNode(name, host, inCluster), 'create', '-f', '-');
    const phase = await until(`pod ${name} has ended`, 120_000, async () => /Succeeded|Failed/.exec(await lab.kubectl('get', 'pod', name, '-o', 'jsonpath={.status.phase}'))?.[0], 500);
    const log = await lab.kubectl('logs', name);
    assert.is(phase, 'Succeeded', log);
    const found = JSON.parse(log.trim().split('\n').at(-1)!) as { named: number; server: string; pods: string[]; refused: string; user: { username: string; extra: Record<string, string[]> } };
    assert.is(found.server, 'https://10.96.0.1:443');
    assert.ok(found.pods.includes(name));
    assert.is(found.named, found.pods.length, 'by the name that cluster DNS has for it');
    assert.is(found.refused, 'secrets is forbidden: User "system:serviceaccount:default:reader" cannot list resource "secrets" in API group "" in the namespace "default"');
    assert.is(found.user.username, 'system:serviceaccount:default:reader');
    assert.equal([found.user.extra['authentication.kubernetes.io/pod-name'], found.user.extra['authentication.kubernetes.io/node-name']], [[name], [`node${host}`]]);
  }
});

test('a deleted pod\'s token is refused at once', async () => {
  await lab.kubectlWith(sleeper('brief', 1), 'create', '-f', '-');
  await ready('brief');
  assert.is((await lab.kubectl('exec', 'brief', '--', 'cat', `${mounted}/namespace`)), 'default');
  const token = await lab.kubectl('exec', 'brief', '--', 'cat', `${mounted}/token`);
  assert.is(await codeOf(token), 200);
  await lab.kubectl('delete', 'pod', 'brief', '--grace-period=0', '--force', '--wait=true');
  assert.is(await codeOf(token), 401);
  assert.is(await codeOf('x.y.z'), 401);
});

test('what does not want a token gets none', async () => {
  await lab.kubectlWith(sleeper('plain', 1, { automountServiceAccountToken: false }), 'create', '-f', '-');
  await ready('plain');
  assert.is((await lab.kubectl('exec', 'plain', '--', 'sh', '-c', `ls ${mounted} 2>/dev/null | wc -l`)).trim(), '0');
  assert.is(await lab.kubectl('get', 'pod', 'plain', '-o', 'jsonpath={.spec.volumes}'), '');
});

test('an old token is lived with while the master is away, and replaced in the running pod when it is back', async () => {
  await lab.kubectlWith(sleeper('long', 2), 'create', '-f', '-');
  await ready('long');
  const uid = await lab.kubectl('get', 'pod', 'long', '-o', 'jsonpath={.metadata.uid}');
  const volume = await lab.kubectl('get', 'pod', 'long', '-o', 'jsonpath={.spec.volumes[0].name}');
  const folder = join(lab.directory, 'agent2', 'pods', 'pods', uid, 'volumes', volume);
  const container = (await lab.docker(2, 'ps', '-q', '--filter', 'name=k8s_c_long')).trim();
  const read = async (): Promise<string> => lab.docker(2, 'exec', container, 'cat', `${mounted}/token`);
  const first = await read();
  await lab.killAgent(2);
  await lab.host('cut', 2);
  const old = `x.${Buffer.from(JSON.stringify({ iat: 1_700_000_000, exp: 1_700_003_607 })).toString('base64url')}.y`;
  await writeFile(join(folder, '..data', 'token'), old);
  await lab.startAgent(2);
  await lab.docker(2, 'kill', container);
  const next = await until('the container was restarted with the old token', 60_000, async () => (await lab.docker(2, 'ps', '-q', '--filter', 'name=k8s_c_long')).trim() || undefined);
  assert.is(await lab.docker(2, 'exec', next, 'cat', `${mounted}/token`), old);
  const data = await readlink(join(folder, '..data'));
  await lab.host('heal', 2);
  const fresh = await until('there is another token', 120_000, async () => {
    const token = await lab.docker(2, 'exec', next, 'cat', `${mounted}/token`);
    return token !== old ? token : undefined;
  }, 500);
  assert.not.equal(await readlink(join(folder, '..data')), data, 'swapped as a whole');
  assert.equal([await codeOf(first), await codeOf(fresh)], [200, 200], 'both are the pod\'s');
  assert.is((await lab.docker(2, 'ps', '-q', '--filter', 'name=k8s_c_long')).trim(), next, 'the container went on');
});

test.run();
