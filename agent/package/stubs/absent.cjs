'use strict';
throw new Error('not part of this bundle');
