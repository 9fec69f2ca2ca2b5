import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RuntimeError, type CreateOptions, type Runtime, type RuntimeEvent } from '../../agent/runtime/runtime.ts';

export interface RuntimeCase {
  readonly make: () => Promise<Runtime>;
  /** An image that is at hand, whose command `stay` runs until it is stopped. */
  readonly image: string;
  /** Unique to this run: label value and name prefix. */
  readonly owner: string;
  /** Whether containers really run commands, write logs and exit by themselves. */
  readonly real: boolean;
}

const key = 'io.wherry.contract';

/** What every {@link Runtime} has to do. */
export function runtimeContract(name: string, given: RuntimeCase): void {
  const test = suite(`runtime contract: ${name}`);
  let runtime: Runtime;
  let count = 0;
  const options = (more: Partial<CreateOptions> = {}): CreateOptions =>
    ({ Image: given.image, Entrypoint: ['stay'], Labels: { [key]: given.owner }, HostConfig: { NetworkMode: 'none' }, ...more });
  const create = (more?: Partial<CreateOptions>): Promise<string> => runtime.create(`${given.owner}-${count++}`, options(more));
  const fault = async (run: Promise<unknown>): Promise<string> => {
    try {
      await run;
    } catch (error) {
      assert.instance(error, RuntimeError);
      return (error as RuntimeError).fault;
    }
    return 'none';
  };

  test.before(async () => { runtime = await given.make(); });
  test.after(async () => { for (const { id } of await runtime.containers(key, given.owner)) await runtime.remove(id); });

  test('a container is created, started, stopped and removed, and is listed by its label all the while', async () => {
    const id = await create();
    assert.equal((await runtime.inspect(id))?.state, 'created');
    await runtime.start(id);
    await runtime.start(id);
    const running = await runtime.inspect(id);
    assert.is(running?.state, 'running');
    assert.ok(running!.startedMs >= running!.createdMs);
    assert.is(running!.finishedMs, 0);
    assert.equal((await runtime.containers(key, given.owner)).map((c) => [c.id, c.state, c.labels[key]]), [[id, 'running', given.owner]]);
    await runtime.stop(id, 5);
    const ended = await runtime.inspect(id);
    assert.is(ended?.state, 'exited');
    assert.ok(ended!.finishedMs >= ended!.startedMs);
    await runtime.remove(id);
    assert.is(await runtime.inspect(id), undefined);
    assert.equal(await runtime.containers(key, given.owner), []);
  });

  test('what is done already, or concerns nothing, is no error', async () => {
    const id = await create();
    await runtime.kill(id, 'SIGTERM');
    await runtime.stop(id, 0);
    await runtime.remove(id);
    await runtime.remove(id);
    await runtime.stop(id, 0);
    await runtime.kill(id, 'SIGKILL');
    assert.is(await runtime.image(`${given.owner}/nothing:1`), undefined);
  });

  test('refusals say what kind they are', async () => {
    assert.is(await fault(create({ Image: `${given.owner}/nothing:1` })), 'notFound');
    const id = await create();
    const taken = (await runtime.inspect(id))!.name;
    assert.is(await fault(runtime.create(taken, options())), 'conflict');
    assert.is(await fault(runtime.start(`${given.owner}-none`)), 'notFound');
    await runtime.remove(id);
  });

  test('events of labelled containers arrive in order', async () => {
    const abort = new AbortController();
    const events = await runtime.events(key, abort.signal);
    const seen: RuntimeEvent['type'][] = [];
    const id = await create();
    const reading = (async () => {
      for await (const event of events) {
        if (event.id === id && event.labels[key] === given.owner) seen.push(event.type);
        if (event.id === id && event.type === 'destroy') abort.abort();
      }
    })();
    await runtime.start(id);
    await runtime.kill(id, 'SIGKILL');
    await runtime.remove(id);
    await reading;
    assert.equal(seen, ['start', 'die', 'destroy']);
  });

  test('bytes that containers have written, by id', async () => {
    const id = await create(given.real ? { Entrypoint: ['sh', '-c', 'head -c 100000 /dev/zero > /written && exec stay'] } : {});
    await runtime.start(id);
    for (;;) {
      const written = await runtime.writtenBytes(key, given.owner);
      assert.equal([...written.keys()], [id]);
      if (written.get(id)! >= (given.real ? 100_000 : 1)) break;
    }
    assert.is((await runtime.writtenBytes(key, `${given.owner}-nobody`)).size, 0);
    await runtime.remove(id);
  });

  test('bytes that a container has logged', async () => {
    const id = await create(given.real ? { Entrypoint: ['sh', '-c', 'yes 0123456789 | head -c 100000; exec stay'] } : {});
    assert.is(await runtime.logBytes(id), 0);
    await runtime.start(id);
    if (given.real) while (await runtime.logBytes(id) < 100_000);
    assert.ok(await runtime.logBytes(id) < 10_000_000);
    await runtime.remove(id);
    assert.is(await runtime.logBytes(id), 0);
  });

  test('stats of what runs, and of nothing else', async () => {
    const id = await create();
    assert.is(await runtime.stats(id), undefined);
    await runtime.start(id);
    assert.ok((await runtime.stats(id))!.memoryBytes > 0);
    await runtime.remove(id);
  });

  test('the engine tells of itself', async () => {
    const info = await runtime.info();
    assert.ok(info.version && info.cpus > 0 && info.memoryBytes > 0);
    const disk = await runtime.disk();
    assert.ok(disk.capacityBytes > 0 && disk.availableBytes <= disk.capacityBytes);
    assert.ok((await runtime.images()).some((image) => image.tags.includes(given.image)));
  });

  if (given.real) realTests(test, () => runtime, create, fault);
  test.run();
}

async function text(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all).toString();
}

function realTests(test: ReturnType<typeof suite>, runtime: () => Runtime, create: (more?: Partial<CreateOptions>) => Promise<string>, fault: (run: Promise<unknown>) => Promise<string>): void {
  const never = new AbortController().signal;

  test('a command that ends leaves its exit code and its log', async () => {
    const id = await create({ Entrypoint: ['sh', '-c', 'echo one; echo two >&2; sleep 0.2; echo three; exit 7'] });
    await runtime().start(id);
    assert.is((await text(runtime().logs(id, { follow: true, timestamps: false, signal: never }))).split('\n').length, 4);
    const details = await runtime().inspect(id);
    assert.is(details?.exitCode, 7);
    assert.is(await text(runtime().logs(id, { follow: false, timestamps: false, tailLines: 1, signal: never })), 'three\n');
    assert.match(await text(runtime().logs(id, { follow: false, timestamps: true, tailLines: 1, signal: never })), /^\d{4}-\d\d-\d\dT[\d:]+\.\d+Z three\n$/);
    await runtime().remove(id);
  });

  test('a followed log ends when it is given up', async () => {
    const id = await create({ Entrypoint: ['sh', '-c', 'echo begun; exec stay'] });
    await runtime().start(id);
    const abort = new AbortController();
    for await (const chunk of runtime().logs(id, { follow: true, timestamps: false, signal: abort.signal })) {
      assert.is(Buffer.from(chunk).toString(), 'begun\n');
      abort.abort();
    }
    await runtime().remove(id);
  });

  test('exec gives output and exit code, and gives up in time', async () => {
    const id = await create();
    await runtime().start(id);
    assert.equal(await runtime().exec(id, ['sh', '-c', 'echo hi; exit 3'], 5000), { exitCode: 3, output: 'hi\n', timedOut: false });
    assert.is((await runtime().exec(id, ['sleep', '30'], 200)).timedOut, true);
    await runtime().remove(id);
  });

  test('an exec with streams: input and its end, output and errors apart, exit code', async () => {
    const id = await create();
    await runtime().start(id);
    const streams = await runtime().openExec(id, ['sh', '-c', 'cat; echo oops >&2; exit 3'], { stdin: true, stdout: true, stderr: true, tty: false });
    await streams.write(Buffer.from('to and fro'));
    streams.end();
    const seen = { 1: '', 2: '' };
    for await (const { from, bytes } of streams.output) seen[from] += Buffer.from(bytes).toString();
    assert.equal(seen, { 1: 'to and fro', 2: 'oops\n' });
    assert.is(await streams.exitCode(never), 3);
    await runtime().remove(id);
    assert.is(await fault(runtime().openExec(id, ['true'], { stdin: false, stdout: true, stderr: true, tty: false })), 'notFound');
  });

  test('an exec with a terminal has the size that was set last, and ends when it is hung up', async () => {
    const id = await create();
    await runtime().start(id);
    const script = 'until [ "$(stty size)" = "20 70" ]; do sleep 0.05; done; echo sized; exec sleep 1000';
    const streams = await runtime().openExec(id, ['sh', '-c', script], { stdin: true, stdout: true, stderr: true, tty: true });
    void streams.resize(100, 50);
    await streams.resize(70, 20);
    for await (const { bytes } of streams.output) {
      if (!Buffer.from(bytes).toString().includes('sized')) continue;
      void streams.hangUp();
    }
    assert.ok(await streams.exitCode(never) > 128);
    await runtime().remove(id);
  });

  test('attach gives what a container writes from now on, and takes its input', async () => {
    const id = await create({ Entrypoint: ['sh', '-c', 'echo before; read line; echo got $line; exit 4'], OpenStdin: true });
    await runtime().start(id);
    for (;;) if ((await text(runtime().logs(id, { follow: false, timestamps: false, signal: never }))) !== '') break;
    const streams = await runtime().attach(id, { stdin: true, stdout: true, stderr: true });
    await streams.write(Buffer.from('a line\n'));
    let seen = '';
    for await (const { bytes } of streams.output) seen += Buffer.from(bytes).toString();
    assert.is(seen, 'got a line\n');
    await runtime().remove(id);
  });

  test('a command that does not exist leaves a container that says why', async () => {
    const id = await create({ Entrypoint: ['/no/such/thing'] });
    await runtime().start(id).then(() => assert.unreachable(), (error: Error) => assert.match(error.message, /no such file/));
    const details = await runtime().inspect(id);
    assert.ok(details!.exitCode > 0);
    assert.match(details!.error, /no such file/);
    await runtime().remove(id);
  });

  test('an image that no registry has fails to pull', async () => {
    await runtime().pull('127.0.0.1:1/none:1', undefined, never).then(() => assert.unreachable(), (error: Error) => assert.instance(error, RuntimeError));
  });
}
