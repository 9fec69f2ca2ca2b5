'use strict';
// The package of this name is a copy of Node's own streams.
module.exports = require('node:stream');
