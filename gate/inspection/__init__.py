"""What a file or folder holds, before anybody wrote a plan: models and data, looked through."""
