-- Run once by the image's entrypoint, as superuser, in the new database (POSTGRES_DB). Each service has a schema,
-- an owner that migrates it, and a role that it runs as, which can't change the schema.

\set ON_ERROR_STOP on
\getenv snippets_owner_password SNIPPETS_OWNER_PASSWORD
\getenv snippets_app_password SNIPPETS_APP_PASSWORD
\getenv views_owner_password VIEWS_OWNER_PASSWORD
\getenv views_app_password VIEWS_APP_PASSWORD

CREATE ROLE snippets_owner LOGIN PASSWORD :'snippets_owner_password';
CREATE ROLE snippets_app LOGIN PASSWORD :'snippets_app_password';
CREATE ROLE views_owner LOGIN PASSWORD :'views_owner_password';
CREATE ROLE views_app LOGIN PASSWORD :'views_app_password';

REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO snippets_owner, snippets_app, views_owner, views_app;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE SCHEMA snippets AUTHORIZATION snippets_owner;
GRANT USAGE ON SCHEMA snippets TO snippets_app;
ALTER DEFAULT PRIVILEGES FOR ROLE snippets_owner IN SCHEMA snippets
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO snippets_app;

CREATE SCHEMA views AUTHORIZATION views_owner;
GRANT USAGE ON SCHEMA views TO views_app;
ALTER DEFAULT PRIVILEGES FOR ROLE views_owner IN SCHEMA views
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO views_app;

-- The totals, hours and days that the worker publishes. They do not exist yet, and a privilege can't be promised to
-- some tables alone.
GRANT USAGE ON SCHEMA views TO snippets_app;
ALTER DEFAULT PRIVILEGES FOR ROLE views_owner IN SCHEMA views
    GRANT SELECT ON TABLES TO snippets_app;
