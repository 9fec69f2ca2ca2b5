import { stat } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PodDisk, type DiskUser } from '../../../agent/pods/pod-disk.ts';
import type { ContainerView } from '../../../agent/pods/view.ts';
import { silentLog } from '../../../shared/log.ts';
import { podOf } from '../../fakes/pod.ts';

/** What of a pod's bytes is on which disk, where the engine shares the volumes' disk and where it has its own. */
const test = suite('pod disk');
const pod = podOf('p', { containers: [{ name: 'a', image: 'a:1' }] });
const uid = pod.metadata.uid ?? '';
const view = (id: string, name: string) => ({ id, name, state: 'exited' }) as ContainerView;

async function diskOf({ apart, active = true }: { readonly apart: boolean; readonly active?: boolean }) {
  const root = process.cwd();
  const { dev } = await stat(root);
  const removed: string[] = [];
  const user: DiskUser = { pod, active, views: [view('1', 'a'), view('2', 'a'), view('3', 'POD')] };
  const disk = new PodDisk({
    runtime: {
      disk: () => Promise.resolve({ capacityBytes: 1, availableBytes: 1, device: apart ? dev + 1 : dev }),
      writtenBytes: () => Promise.resolve(new Map([['1', 10], ['2', 5], ['3', 100]])),
      images: () => Promise.resolve([{ id: 'old', tags: ['old:1'], digests: [], sizeBytes: 7, user: '' }, { id: 'kept', tags: ['pause'], digests: [], sizeBytes: 7, user: '' }]),
      removeImage: (id) => { removed.push(id); return Promise.resolve(); },
      remove: (id) => { removed.push(id); return Promise.resolve(); },
    },
    log: silentLog, root, owner: 'test', keep: 'pause', pods: new Map([[uid, user]]),
    volumes: { usage: () => Promise.resolve(new Map([['v', 3], ['w', 4]])) },
  });
  return { disk, removed };
}

test('on one disk, what containers wrote and what volumes hold both count; the sandbox does not', async () => {
  const { disk } = await diskOf({ apart: false });
  for (const signal of ['nodefs.available', 'imagefs.available'] as const) {
    assert.equal([...(await disk.use([pod], signal)).get(uid)!], [['', 7], ['a', 15]]);
  }
});

test('on a disk of its own, the engine has what containers wrote, and the node the volumes', async () => {
  const { disk } = await diskOf({ apart: true });
  assert.equal([...(await disk.use([pod], 'nodefs.available')).get(uid)!], [['', 7], ['a', 0]]);
  assert.equal([...(await disk.use([pod], 'imagefs.available')).get(uid)!], [['', 0], ['a', 15]]);
});

test('room is made on the disk that lacks it: the engine\'s things do not help the node\'s own', async () => {
  const apart = await diskOf({ apart: true, active: false });
  await apart.disk.makeRoom('nodefs.available');
  assert.equal(apart.removed, []);
  await apart.disk.makeRoom('imagefs.available');
  assert.equal(apart.removed, ['1', '2', '3', 'old']);
  const shared = await diskOf({ apart: false });
  await shared.disk.makeRoom('nodefs.available');
  assert.equal(shared.removed, ['old'], 'containers of a pod that has not ended stay');
});

test.run();
