// Exits with 0 if this Node can build the extension: the range that @rspack/core asks for.
const [major, minor] = process.versions.node.split('.').map(Number);
const isNewEnough = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22;
process.exit(isNewEnough ? 0 : 1);
