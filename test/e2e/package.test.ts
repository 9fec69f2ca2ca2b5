import { createHash } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as v from 'valibot';
import { run, until } from './lab.ts';

/** `npm run package`: both architectures, what is said of them, and the foreign one at work under qemu. */
const test = suite('package');
const output = resolve('dist/package');
const masterProgram = fileURLToPath(new URL('../../master/main.js', import.meta.url));
/** Not the default one, which a cluster on this machine may have. */
const serviceRange = '10.98.0.0/16';
const masterPort = '16491';
/** Debian's C library for arm64. */
const sysroot = '/usr/aarch64-linux-gnu';
let directory = '';
const children: ChildProcess[] = [];

test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'wherry-package-'));
  await run('bash', ['test/e2e/compilers.sh', 'cc', 'arm64'], { timeoutMs: 15 * 60_000 });
  await run('npm', ['run', '-s', 'package'], { timeoutMs: 15 * 60_000 });
});

test.after(async () => {
  // The agent first, which takes its route away.
  for (const child of children.reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const late = setTimeout(() => child.kill('SIGKILL'), 30_000);
    child.kill('SIGTERM');
    await once(child, 'exit');
    clearTimeout(late);
  }
  await run('ip', ['route', 'del', 'local', serviceRange, 'dev', 'lo']).catch(() => {});
  await rm(directory, { recursive: true, force: true });
});

/** The arm64 agent, under qemu on other machines. */
const arm64 = async (): Promise<readonly string[]> => {
  const binary = join(output, 'wherry-agent-linux-arm64');
  if (process.arch === 'arm64') return [binary];
  const qemu = await run('sh', ['-c', 'command -v qemu-aarch64-static || command -v qemu-aarch64']);
  return [qemu.trim(), '-L', sysroot, binary];
};

const sha256 = async (name: string): Promise<string> => createHash('sha256').update(await readFile(join(output, name))).digest('hex');

test('SHA256SUMS names every file, and is right', async () => {
  const sums = (await readFile(join(output, 'SHA256SUMS'), 'utf8')).trimEnd().split('\n').map((line) => line.split('  '));
  const files = (await readdir(output)).filter((name) => name.startsWith('wherry-agent-')).sort();
  assert.equal(sums.map(([, name]) => name), files);
  for (const arch of ['amd64', 'arm64']) for (const end of ['', '.cdx.json', '.licenses.txt']) assert.ok(files.includes(`wherry-agent-linux-${arch}${end}`), `${arch}${end}`);
  for (const [sum, name] of sums) assert.is(await sha256(name!), sum);
});

const text = v.pipe(v.string(), v.minLength(1));
/** An SPDX identifier; the ones that have occurred, so that a new one is looked at by somebody. */
const Licences = v.array(v.union([
  v.strictObject({ license: v.strictObject({ id: v.picklist(['Apache-2.0', '0BSD', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT', 'Zlib']) }) }),
  v.strictObject({ expression: v.pipe(text, v.regex(/^[\w.+-]+( (OR|AND|WITH) [\w.+-]+)+$/)) }),
]));
const Hashes = v.array(v.strictObject({ alg: v.literal('SHA-256'), content: v.pipe(text, v.regex(/^[0-9a-f]{64}$/)) }));
const part = {
  type: v.picklist(['application', 'library', 'platform']), 'bom-ref': text, group: v.optional(text), name: text, version: text, description: v.optional(text),
  hashes: v.optional(Hashes), licenses: v.optional(Licences), purl: v.optional(v.pipe(text, v.regex(/^pkg:(npm|generic)\/(%40[^/@]+\/)?[^/@]+@[^@]+$/))),
};
/** As much of CycloneDX 1.5 as is used, and no property that it has not. */
const Bill = v.strictObject({
  $schema: v.literal('http://cyclonedx.org/schema/bom-1.5.schema.json'), bomFormat: v.literal('CycloneDX'), specVersion: v.literal('1.5'), version: v.literal(1),
  serialNumber: v.pipe(text, v.regex(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/)),
  metadata: v.strictObject({ component: v.strictObject(part) }),
  components: v.array(v.strictObject({ ...part, components: v.optional(v.array(v.strictObject(part))) })),
  dependencies: v.array(v.strictObject({ ref: text, dependsOn: v.optional(v.array(text)) })),
});

for (const arch of ['amd64', 'arm64']) {
  test(`the bill of materials for ${arch} is valid, and lists Node and every package with version and licence`, async () => {
    const name = `wherry-agent-linux-${arch}`;
    const bill = v.parse(Bill, JSON.parse(await readFile(join(output, `${name}.cdx.json`), 'utf8')));
    assert.equal(bill.metadata.component.hashes, [{ alg: 'SHA-256', content: await sha256(name) }]);
    const { components } = bill;
    const refs = [bill.metadata.component, ...components, ...components.flatMap((one) => one.components ?? [])].map((one) => one['bom-ref']);
    assert.is(new Set(refs).size, refs.length);
    for (const { ref, dependsOn } of bill.dependencies) for (const named of [ref, ...dependsOn ?? []]) assert.ok(refs.includes(named), named);

    const node = components.find((one) => one.type === 'platform')!;
    assert.match(node.version, /^\d+\.\d+\.\d+$/);
    for (const inside of ['openssl', 'v8', 'uv', 'zlib', 'undici']) assert.ok(node.components?.some((one) => one.name === inside), inside);

    const locked = (JSON.parse(await readFile('package-lock.json', 'utf8')) as { packages: Record<string, { version?: string }> }).packages;
    const libraries = components.filter((one) => one.type === 'library');
    for (const { group, name: plain, version, licenses } of libraries) {
      const whole = group ? `${group}/${plain}` : plain;
      assert.ok(Object.entries(locked).some(([path, found]) => path.endsWith(`node_modules/${whole}`) && found.version === version), `${whole}@${version}`);
      assert.ok(licenses?.length, `${whole} has a licence`);
    }
    for (const used of ['cac', 'docker-modem', 'dockerode', 'msgpackr', 'valibot', 'ws']) assert.ok(libraries.some((one) => one.name === used), used);
    for (const unused of ['ssh2', 'protobufjs', 'lmdb']) assert.not(libraries.some((one) => one.name === unused), unused);

    const notices = await readFile(join(output, `${name}.licenses.txt`), 'utf8');
    for (const words of ['\nws ', '\nnode-linux-', 'OpenSSL', 'Permission is hereby granted']) assert.ok(notices.includes(words), words);
  });
}

test('an architecture that cannot be made is refused with the reason', async () => {
  const refusal = await run('npm', ['run', '-s', 'package', '--', 'arm/v7', 'vax']).then(() => 'made', (error: Error) => error.message);
  assert.match(refusal, /no binary can be made for arm\/v7 \(npm's newest Node for it is .*\), vax; there are: amd64, arm64/);
});

test('the arm64 agent starts, enrols and connects, and says so', async () => {
  const [program = '', ...first] = await arm64();
  assert.match(await run(program, [...first, '--version'], { timeoutMs: 60_000 }), /^wherry-agent\/\S+ linux-arm64 node-v/);

  const [masterData, agentData] = [join(directory, 'master'), join(directory, 'agent')];
  children.push(spawn(process.execPath, [masterProgram, 'master', '--data-dir', masterData, '--bind-address', '127.0.0.1', '--port', masterPort, '--service-cidr', serviceRange, '--log-level', 'warn'], { stdio: 'inherit' }));
  let token = '';
  await until('the master makes tokens', 60_000, async () => {
    token = (await run(process.execPath, [masterProgram, 'token', 'create', '--data-dir', masterData]).catch(() => '')).trim();
    return token !== '';
  });
  children.push(spawn(program, [...first, '--master', `wss://127.0.0.1:${masterPort}`, '--node-name', 'arm', '--node-ip', '127.0.0.1', '--data-dir', agentData, '--config', 'none'], { stdio: 'inherit', env: { ...process.env, WHERRY_TOKEN: token } }));
  await until('the agent is connected', 120_000, async () => {
    const status = await run(program, [...first, 'status', '--json', '--data-dir', agentData], { timeoutMs: 60_000 }).catch(() => '{}');
    return (JSON.parse(status) as { state?: string }).state === 'connected';
  });
});

test.run();
