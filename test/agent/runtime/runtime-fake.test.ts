import { runtimeContract } from '../../contract/runtime.ts';
import { FakeClock } from '../../fakes/clock.ts';
import { FakeRuntime } from '../../fakes/runtime.ts';

runtimeContract('fake', {
  image: 'busybox:1', owner: 'contract', real: false,
  make: async () => {
    const runtime = new FakeRuntime(new FakeClock());
    runtime.addImage('busybox:1');
    return runtime;
  },
});
