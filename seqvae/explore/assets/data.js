// In a folder written by `seqvae explore --static` this file holds recorded answers.
window.SEQVAE_STATIC = null;
