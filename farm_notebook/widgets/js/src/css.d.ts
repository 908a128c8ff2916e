/** Stylesheets are gathered by the build, and have nothing to import. */
declare module "*.css";
