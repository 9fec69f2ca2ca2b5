import { DockerRuntime } from '../../agent/runtime/docker.ts';
import { runtimeContract } from '../contract/runtime.ts';

runtimeContract('Docker', {
  image: 'wherry-test/busybox:1', owner: `wherry-e2e-runtime-${process.pid}`, real: true,
  make: async () => new DockerRuntime(),
});
