import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeRoom } from '../../../agent/pods/make-room.ts';
import type { ContainerView } from '../../../agent/pods/view.ts';
import { silentLog } from '../../../shared/log.ts';
import { podOf } from '../../fakes/pod.ts';

const test = suite('make room');
const image = (id: string, tags: string[], digests: string[] = []) => ({ id, tags, digests, sizeBytes: 1, user: '' });
const view = (id: string): ContainerView => ({ id, state: 'exited' }) as ContainerView;

test('images that a pod names stay, by whatever name; what the engine cannot remove does not keep the rest', async () => {
  const removed: string[] = [];
  const runtime = {
    images: async () => [image('1', ['a:latest']), image('2', [], ['b@sha256:00']), image('3', ['old:1']), image('4', ['debug:1']), image('5', ['pause:1'])],
    removeImage: async (id: string) => { removed.push(id); },
    remove: async (id: string) => { if (id === 'stuck') throw new Error('device or resource busy'); removed.push(id); },
  };
  const spec = { containers: [{ name: 'a', image: 'docker.io/library/a' }, { name: 'b', image: 'b:1@sha256:00' }], ephemeralContainers: [{ name: 'd', image: 'debug:1' }] };
  await makeRoom({
    runtime, log: silentLog, keep: 'pause:1',
    pods: [{ pod: podOf('p', spec), active: true, views: [] }, { pod: podOf('q', { containers: [{ name: 'o', image: 'old:1' }] }), active: false, views: [view('stuck'), view('other')] }],
  });
  assert.equal(removed, ['other', '3']);
});

test.run();
